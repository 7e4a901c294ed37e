"""Serial flash chip, in C++, for equilif_sim.board: the model equilif_golden.link.flash with pins.

Programs and erases proceed byte by byte while the chip is busy, so a killed process leaves a partial result,
as a power cut does.

    content                     content of the chip
    void before(Vboard &)       set the output pins for a cycle
    void after(Vboard &)        sample the input pins after it
    void cut()                  power cut
    bool active(Vboard &)       the standalone trainer is active
    bool fault(Vboard &)        it stopped with a fault
"""

from __future__ import annotations

import fcntl
import mmap
from pathlib import Path

from equilif_golden.link.flash import ERASED

NO_CHIP = r"""
struct Chip {
    uint8_t *content = nullptr;
    void before(Vboard &) {}
    void after(Vboard &) {}
    bool active(Vboard &) const { return false; }
    bool fault(Vboard &) const { return false; }
    void cut() {}
};
"""

CHIP = r"""
struct Chip {
    // bytes of a page, and of a block, that change in a cycle; a real chip takes longer
    static const unsigned erased_in_a_cycle = 16;
    uint8_t *content = nullptr;
    bool selected = false, clock = false, out = true, out0 = true;
    bool enabled = false;           // a program or an erase may come
    unsigned bits = 0, n = 0;       // of this order, its whole bytes
    uint8_t byte = 0, opcode = 0, sent = 0xFF;
    uint32_t address = 0;
    unsigned pairs = 0;             // clocks that brought two bits of this byte
    uint8_t page[256];              // what is to be programmed
    bool given[256];
    unsigned given_left = 0;
    uint32_t page_at = 0, erase_at = 0, erase_left = 0;
    bool busy() const { return given_left || erase_left; }
    bool dual() const { return opcode == 0x3B && n >= 5; }
    void before(Vboard &top) { top.flash___05Fcipo = out, top.flash___05Fsio = out0; }
    bool active(Vboard &top) const { return top.active; }
    bool fault(Vboard &top) const { return top.fault; }
    void cut() { given_left = erase_left = 0, enabled = selected = clock = false; }
    void after(Vboard &top) {
        work();
        bool cs = top.flash___05Fcs, clk = top.flash___05Fclk;
        if (cs && !selected) bits = n = 0, sent = 0xFF, opcode = 0;
        if (cs && clk && !clock && dual()) {
            if (++pairs % 4 == 0) next();
        } else if (cs && clk && !clock) {
            byte = byte << 1 | top.flash___05Fcopi;
            if (++bits % 8 == 0) take();
        }
        if (cs && !clk && clock) {
            out = sent >> 7;
            out0 = sent >> 6 & 1;
            sent = dual() ? sent << 2 | 3 : sent << 1 | 1;
        }
        if (!cs && selected && bits % 8 == 0) carry_out();
        selected = cs;
        clock = clk;
    }
    void next() {
        if (busy()) return;
        sent = content[address];
        address = (address + 1) & 0xFFFFFF;
    }
    void take() {
        if (n == 0) opcode = byte;
        else if (n <= 3) address = (address << 8 | byte) & 0xFFFFFF;
        if (n == 3 && opcode == 0x02) {
            page_at = address & ~0xFFu;
            for (bool &g : given) g = false;
        }
        if (n > 3 && opcode == 0x02) {
            page[address & 0xFF] = byte;
            given[address & 0xFF] = true;
            address = (address & ~0xFFu) | ((address + 1) & 0xFF);
        }
        n++;
        if (dual()) pairs = 0, next();
        if (opcode == 0x05) sent = busy() | enabled << 1;
        if (opcode == 0x9F) sent = n == 1 ? 0xEF : n == 2 ? 0x40 : 0x18;
    }
    void carry_out() {
        if (busy()) return;
        if (opcode == 0x06) enabled = true;
        if (opcode == 0x02 && enabled && n > 4) given_left = 256, enabled = false;
        if ((opcode == 0xD8 || opcode == 0x20) && enabled && n == 4) {
            erase_left = opcode == 0x20 ? 0x1000 : 0x10000;
            erase_at = address & ~(erase_left - 1);
            enabled = false;
        }
    }
    void work() {
        if (given_left) {
            unsigned k = 256 - given_left--;
            if (given[k]) content[page_at + k] &= page[k];
        }
        for (unsigned k = 0; k < erased_in_a_cycle && erase_left; k++)
            content[erase_at + --erase_left] = 0xFF;
    }
};
"""

CHIP_BYTES = 1 << 24


def check_file(file: Path) -> None:
    """ValueError for a file that is not a flash content, or is in use; a missing file is valid."""
    if not file.exists():
        return
    if file.stat().st_size != CHIP_BYTES:
        raise ValueError(
            f"{file} has {file.stat().st_size} bytes, a flash has {CHIP_BYTES}: name another file"
        )
    with file.open("r+b") as f:
        _lock(f.fileno(), file)


def content_of(file: Path | None) -> mmap.mmap:
    """Content of a chip, mapped to a file, which is locked; a new file is erased.

    ValueError if another chip uses the file.
    """
    if file is None:
        content = mmap.mmap(-1, CHIP_BYTES)
        content[:] = bytes([ERASED]) * CHIP_BYTES
        return content
    check_file(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    _make(file)
    with file.open("r+b") as f:
        _lock(f.fileno(), file)
        return mmap.mmap(f.fileno(), CHIP_BYTES)  # keeps the file open and locked


def _make(file: Path) -> None:
    """Create the content of an erased chip, unless the file exists: two simulations may start together."""
    try:
        f = file.open("xb")
    except FileExistsError:
        return
    with f:
        try:
            _lock(f.fileno(), file)
            f.write(bytes([ERASED]) * CHIP_BYTES)
        except BaseException:
            file.unlink()
            raise


def _lock(descriptor: int, file: Path) -> None:
    """Lock the file while this process has it open; ValueError if another simulation uses it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(
            f"{file} is the flash of a simulated board that is running: end that one, or name another file"
        ) from None
