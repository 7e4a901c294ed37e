"""Explanations of surviving mutants without a proof, by target, line and operator."""

EXPLAINED = {
    ("activity", "engine/activity.py:73 const0 A[1]"): (
        "it increments at walk 2 only; no operation has a fourth walk"
    ),
    ("sequencer", "engine/sequencer.py:136 const0 A[0]"): (
        "a program word is available in every cycle except after a jump; in HALT the output is unused"
    ),
    ("weights, single port", "engine/weights.py:152 inv Y[1]"): (
        "permutes the words of a bank, for reads and writes alike"
    ),
    ("flash", "link/flash.py:181 cnot1 Y[4] by 1"): (
        "the counter takes other values, but as many: 4, 8, 24 or 32"
    ),
    ("standalone", "link/standalone.py:479 const0 A[7]"): (
        "reads the entry of a missing sample first, then the right one: costs time only"
    ),
    ("standalone", "link/standalone.py:230 cnot1 D[0] by 7"): (
        "generations of slot 0 are even, of slot 1 odd: a difference larger by 1 has the same sign"
    ),
    ("host, standalone", "link/host.py:374 const0 A[0]"): (
        "only the host starts the engine, and it waits for the end before the next command"
    ),
    ("host, standalone", "link/host.py:293 const0 A[0]"): (
        "a command for the registers of the trainer waits for the flash: costs time only"
    ),
    ("host, standalone", "link/host.py:447 const1 B[0]"): (
        "reads the first flash element before the command is checked, and again afterwards"
    ),
    ("host, standalone", "link/host.py:310 const1 Y[0]"): (
        "the engine reads in addition to flash and trainer; the result is unused"
    ),
    ("host, standalone", "link/host.py:312 const1 B[0]"): (
        "the flash reads in addition to the engine; the result is unused"
    ),
    ("host, standalone", "link/host.py:298 const1 Y[0]"): (
        "requests a write while the flash is busy: accepted once it is ready, as before"
    ),
    ("host, standalone", "link/host.py:447 inv B[0]"): (
        "reads the first flash element before the command is checked, and only then"
    ),
    ("host, standalone", "link/host.py:159 inv B[0]"): (
        "a byte stays at the output until the next one and is marked as dropped one cycle later"
    ),
    ("self-attention", "engine/engine.py:218 const1 B[3]"): (
        "without a row the operand is the number of groups: a larger one makes one row, too"
    ),
    ("self-attention", "engine/engine.py:223 inv A[3]"): ("a bit above the groups of this engine"),
    ("self-attention", "engine/engine.py:213 cnot1 Y[5] by 0"): ("a bit above the groups of this engine"),
    ("self-attention", "engine/engine.py:211 const1 D[6]"): ("a bit above the groups of this engine"),
    ("self-attention", "engine/engine.py:219 cnot1 A[1] by 8"): (
        "a row of 256 groups and more is larger than what is left, with either bit"
    ),
    ("self-attention", "engine/isa.py:70 const1 A[3]"): (
        "only LEARN uses noise, u- v- and the scanner's switch for STORE"
    ),
    ("self-attention, single port", "engine/engine.py:218 const1 B[4]"): (
        "without a row the operand is the number of groups: a larger one makes one row, too"
    ),
    ("self-attention, single port", "engine/engine.py:213 inv Y[6]"): (
        "a bit above the groups of this engine"
    ),
    ("self-attention, single port", "engine/isa.py:70 const1 A[3]"): (
        "only LEARN uses noise and u- v-, which STORE switches off"
    ),
    ("self-attention, single port", "engine/isa.py:70 const1 A[0]"): (
        "only LEARN uses noise and u- v-, which STORE switches off"
    ),
    ("sdram", "sdram.py:155 cnot1 A[4] by 0"): (
        "the interval counter takes other values, but as many between two refreshes"
    ),
    ("sdram", "sdram.py:151 cnot1 D[8] by 2"): (
        "the interval counter takes other values, but as many between two refreshes"
    ),
}
