"""SLIP: encoder and decoder are inverse; stream handshakes.

Both have no latency and one bit of state (an escape).  So no item is lost or repeated when each one that the
encoder accepts leaves the decoder in the same cycle, and no other does.
"""

from __future__ import annotations

from amaranth import Signal

from equilif_golden.link.protocol import END, ESC, ESC_END, ESC_ESC
from equilif_hdl.link.slip import SlipDecoder, SlipEncoder
from tests.formal.prove import Proof, needs_prover
from tests.formal.streams import stands

pytestmark = needs_prover
SLIP = "equilif_hdl.link.slip"


def test_slip_round_trip():
    p = Proof("decoder(encoder(item)) = item; none is lost or duplicated", SLIP)
    encoder = SlipEncoder()
    decoder = SlipDecoder()
    p.free(encoder, "encoder", but=("o__ready",))
    p.free(decoder, "decoder", but=("i__valid", "i__payload"))
    p.m.d.comb += [
        decoder.i.valid.eq(encoder.o.valid),
        decoder.i.p.data.eq(encoder.o.payload),
        encoder.o.ready.eq(decoder.i.ready),
    ]
    p.assume("valid is held", stands(p, encoder.i))
    taken = encoder.i.valid & encoder.i.ready
    given = decoder.o.valid & decoder.o.ready
    p.claim("one for one", taken == given)
    same = (decoder.o.p.end == encoder.i.p.end) & (encoder.i.p.end | (decoder.o.p.data == encoder.i.p.data))
    p.claim("the same", ~taken | same & ~(decoder.o.p.end & decoder.o.p.bad))
    p.cover("an END as data", taken & ~encoder.i.p.end & (encoder.i.p.data == END))
    p.cover("an ESC as data", taken & ~encoder.i.p.end & (encoder.i.p.data == ESC))
    p.cover("an end", taken & encoder.i.p.end)
    p.reached(reach=6)


def test_encoder_handshake():
    p = Proof("a valid byte is held until it is accepted", SLIP)
    block = SlipEncoder()
    p.free(block)
    p.assume("valid is held", stands(p, block.i))
    p.claim("stands", stands(p, block.o))
    p.claim("END only at an end", ~block.o.valid | block.i.p.end | (block.o.payload != END))
    p.cover("waits behind an escape", p.before(block.o.valid & ~block.o.ready) & (block.o.payload == ESC_END))
    p.reached(reach=6)


def test_decoder_handshake_and_errors():
    """Errors since the last END are marked, by the rules of RFC 1055."""
    p = Proof(
        "a valid item is held; a frame end is bad exactly if an error occurred since the previous one", SLIP
    )
    block = SlipDecoder()
    p.free(block)
    i = block.i
    m = p.m
    p.assume("valid is held", stands(p, i))
    p.claim("stands", stands(p, block.o))
    byte = i.valid & i.ready
    whole = byte & ~i.p.error

    escape = Signal()
    wrong = Signal()
    follows = (i.p.data == ESC_END) | (i.p.data == ESC_ESC)
    with m.If(byte):
        m.d.sync += escape.eq(whole & (i.p.data == ESC) & ~escape)
        with m.If(i.p.error | escape & ~follows & (i.p.data != END)):
            m.d.sync += wrong.eq(1)
        with m.Elif(i.p.data == END):
            m.d.sync += wrong.eq(0)
    ends = block.o.valid & block.o.p.end
    p.claim("end", ends == (i.valid & ~i.p.error & (i.p.data == END)))
    p.claim("bad", ~ends | (block.o.p.bad == (wrong | escape)))
    data = block.o.valid & ~block.o.p.end & ~wrong
    p.claim("plain", ~data | escape | (block.o.p.data == i.p.data))
    p.claim("escaped END", ~data | ~escape | (i.p.data != ESC_END) | (block.o.p.data == END))
    p.claim("escaped ESC", ~data | ~escape | (i.p.data != ESC_ESC) | (block.o.p.data == ESC))
    p.claim("each byte but ESC is data", ~(byte & ~ends & ~i.p.error) | block.o.valid | (i.p.data == ESC))
    p.cover("a bad end", ends & block.o.p.bad & block.o.ready)
    p.cover(
        "a good end after a bad one", ends & ~block.o.p.bad & p.before(ends & block.o.p.bad & block.o.ready)
    )
    p.cover("an ESC as data", data & (block.o.p.data == ESC))
    p.reached(reach=8)
