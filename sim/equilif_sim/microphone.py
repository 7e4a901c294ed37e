"""Microphone at the pins of a simulated board, in C++, for equilif_sim.board.

void before(Vboard &)           set the data pin for a cycle
void after(Vboard &)            sample the pins after it
void play(bits, n)              bits from the next falling edge of its clock on
left()                          number of bits left
button(learn, label)            pins of the learn button and of the label
idle                            number of bits so far that are none of these: 0, 1, 0, 1, silence
take(out, room)                 received text
"""

from __future__ import annotations

from equilif_hdl.front_end.listener import Microphone

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

PDM = r"""
#include <string>
struct Microphone {
    static const int gap = GAP;     // cycles of a bit of the text
    const uint8_t *bits = nullptr;
    uint64_t n = 0, at = 0, idle = 0;
    bool clock = false, waiting = false;
    std::string text;
    int receiving = 0, timer = 0;
    unsigned received = 0;
    int learn = 0, label = 0;
    void play(const uint8_t *b, uint64_t count) { bits = b, n = count, at = 0, waiting = true; }
    void button(int pressed, int chosen) { learn = pressed, label = chosen; }
    uint64_t left() const { return n - at; }
    int take(uint8_t *out, int room) {
        int k = 0;
        for (; k < room && k < (int)text.size(); k++) out[k] = text[k];
        text.erase(0, k);
        return k;
    }
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
        if (!receiving) {
            if (!top.microphone___05Ftext) receiving = 9, timer = gap + gap / 2, received = 0;
        } else if (!--timer) {
            timer = gap;
            if (--receiving) received = received >> 1 | top.microphone___05Ftext << 7;
            else text += (char)received;
        }
    }
};
"""


def microphone_model(microphone: Microphone) -> str:
    """C++ of a microphone; ValueError for one that cannot be simulated."""
    if microphone.kind != "pdm":
        raise ValueError(f"a microphone of kind {microphone.kind} cannot be simulated: take pdm")
    return PDM.replace("GAP", str(microphone.divisor))
