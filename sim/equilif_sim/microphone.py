"""Microphone or ADC at the pins of a simulated board, in C++, for equilif_sim.board.

void before(Vboard &)           set the data pin for a cycle
void after(Vboard &)            sample the pins after it
void play(bits, n)              bits from the next falling edge of its clock on
left()                          number of bits left
button(learn, label)            pins of the learn button and of the label
idle                            number of bits so far that are none of these: 0, 1, 0, 1, silence; of an
                                ADC, readings of half of the range
take(out, room)                 received text
"""

from __future__ import annotations

from equilif_hdl.front_end.adc import COMMAND_BITS, SAMPLING_BITS
from equilif_hdl.front_end.listener import Microphone
from equilif_hdl.front_end.sensor import Adc

NO_MICROPHONE = r"""
struct Microphone {
    void before(Vboard &) {}
    void after(Vboard &) {}
    void play(const uint8_t *, uint64_t) {}
    void button(int, int) {}
    uint64_t left() const { return 0; }
    uint64_t idle = 0;
    int take(uint8_t *, int) { return 0; }
};
"""

#: receiver of the text of answers; ``gap``: cycles of a bit
TEXT = r"""
#include <string>
struct TextReceiver {
    static const int gap = GAP;
    std::string text;
    int receiving = 0, timer = 0;
    unsigned received = 0;
    int take(uint8_t *out, int room) {
        int k = 0;
        for (; k < room && k < (int)text.size(); k++) out[k] = text[k];
        text.erase(0, k);
        return k;
    }
    void sample(bool level) {
        if (!receiving) {
            if (!level) receiving = 9, timer = gap + gap / 2, received = 0;
        } else if (!--timer) {
            timer = gap;
            if (--receiving) received = received >> 1 | level << 7;
            else text += (char)received;
        }
    }
};
"""

PDM = r"""
struct Microphone : TextReceiver {
    const uint8_t *bits = nullptr;
    uint64_t n = 0, at = 0, idle = 0;
    bool clock = false, waiting = false;
    int learn = 0, label = 0;
    void play(const uint8_t *b, uint64_t count) { bits = b, n = count, at = 0, waiting = true; }
    void button(int pressed, int chosen) { learn = pressed, label = chosen; }
    uint64_t left() const { return n - at; }
    void before(Vboard &top) {
        top.microphone___05Fdata = playing() ? bits[at] : idle & 1;
        top.microphone___05Flearn = learn;
        top.microphone___05Flabel = label;
    }
    bool playing() const { return !waiting && at < n; }
    void after(Vboard &top) {
        // a bit stays until the clock has risen and is sampled
        bool now = top.microphone___05Fclock;
        if (!now && clock) {
            if (playing()) at++;
            else idle++, waiting = false;
        }
        clock = now;
        sample(top.microphone___05Ftext);
    }
};
"""

#: an MCP3204, MCP3208, MCP3004 or MCP3008; pairs of bytes are readings of all channels in turn
ADC = r"""
struct Microphone : TextReceiver {
    static const int width = WIDTH, command_bits = COMMAND, sampling_bits = SAMPLING;
    const uint8_t *bytes = nullptr;
    uint64_t n = 0, at = 0, idle = 0;
    bool clock = false, selected = false, waiting = false, given = false, out = true;
    unsigned command = 0, rises = 0, value = 0;
    void play(const uint8_t *b, uint64_t count) { bytes = b, n = count, at = 0, waiting = true; }
    uint64_t left() const { return n - at; }
    bool playing() const { return !waiting && at < n; }
    int learn = 0, label = 0;
    void button(int pressed, int chosen) { learn = pressed, label = chosen; }
    void before(Vboard &top) {
        top.sensor___05Fmiso = out;
        top.sensor___05Flearn = learn;
        top.sensor___05Flabel = label;
    }
    void after(Vboard &top) {
        sample(top.sensor___05Ftext);
        bool chosen = !top.sensor___05Fcsn, now = top.sensor___05Fsck;
        if (!chosen && selected) {
            if (given) at += 2;
            out = true;
        }
        if (chosen && !selected) rises = command = 0;
        if (chosen && now && !clock) {
            if (rises < command_bits) command = command << 1 | top.sensor___05Fmosi;
            if (++rises == command_bits) {
                // readings begin with channel 0; another command has no answer
                if (command == 3 << 3) waiting = false;
                given = playing();
                idle += !given;
                value = command >> 3 != 3 ? 0 : given ? bytes[at] | bytes[at + 1] << 8 : 1 << (width - 1);
            }
        }
        if (chosen && !now && clock && rises >= command_bits) {
            int bit = width - 1 - (int)(rises - command_bits - sampling_bits);
            out = bit >= 0 && bit < width && value >> bit & 1;
        }
        selected = chosen;
        clock = now;
    }
};
"""


def adc_model(adc: Adc) -> str:
    """C++ of an ADC."""
    constants = {"WIDTH": adc.width, "COMMAND": COMMAND_BITS, "SAMPLING": SAMPLING_BITS}
    model = ADC
    for name, value in constants.items():
        model = model.replace(f" {name}", f" {value}")
    return TEXT.replace("GAP", str(adc.divisor)) + model


def microphone_model(microphone: Microphone) -> str:
    """C++ of a microphone; ValueError for one that cannot be simulated."""
    if microphone.kind != "pdm":
        raise ValueError(f"a microphone of kind {microphone.kind} cannot be simulated: take pdm")
    return TEXT.replace("GAP", str(microphone.divisor)) + PDM
