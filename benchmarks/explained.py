"""Why a mutant that no bench kills and no proof covers lives: by target, line and operator."""

EXPLAINED = {
    ("activity", "engine/activity.py:73 const0 A[1]"): (
        "it counts on from walk 2, and no operation has a fourth walk"
    ),
    ("sequencer", "engine/sequencer.py:136 const0 A[0]"): (
        "while the program is read, a word is there in every cycle but the one after a jump; in HALT, "
        "where none is, nobody looks at what is taken"
    ),
    ("weights, single port", "engine/weights.py:152 inv Y[1]"): (
        "the words of a bank change places, for reads and writes alike"
    ),
    ("flash", "link/flash.py:181 cnot1 Y[4] by 1"): (
        "clocks are counted through other numbers, and as many: 4, 8, 24 or 32"
    ),
    ("standalone", "link/standalone.py:479 const0 A[7]"): (
        "the flash is sent to the entry of a sample that is not there, and then to the right one: only time"
    ),
    ("standalone", "link/standalone.py:230 cnot1 D[0] by 7"): (
        "generations of slot 0 are even, of slot 1 odd: one more in their difference does not change its sign"
    ),
    ("host, standalone", "link/host.py:374 const0 A[0]"): (
        "the host alone starts the engine, and waits for its end before it takes a command"
    ),
    ("host, standalone", "link/host.py:293 const0 A[0]"): (
        "a command for the trainer's registers waits until the flash is ready: only time"
    ),
    ("host, standalone", "link/host.py:447 const1 B[0]"): (
        "the flash is sent to its first element before the command was found right, and once more behind it"
    ),
    ("host, standalone", "link/host.py:310 const1 Y[0]"): (
        "the engine reads beside flash and trainer, and nobody takes what it has read"
    ),
    ("host, standalone", "link/host.py:312 const1 B[0]"): (
        "the flash reads beside the engine, and nobody takes what it has read"
    ),
    ("host, standalone", "link/host.py:298 const1 Y[0]"): (
        "a write is asked for while the flash is not ready: it takes it when it is, as without"
    ),
    ("host, standalone", "link/host.py:447 inv B[0]"): (
        "the flash is sent to its first element before the command was found right, and stays there"
    ),
    ("host, standalone", "link/host.py:159 inv B[0]"): (
        "a byte stays at the output of the line until the next one, and is seen as dropped a cycle later"
    ),
}
