"""A board as the coprocessor of a microcontroller, in MicroPython: load a network, learn and predict by UART.

Copy this file and the network.bin of `equilif export DIR --network FILE --board BOARD` to the
microcontroller.  It needs nothing of equilif:

    from machine import UART
    from microcontroller import EngineClient
    board = EngineClient(UART(1, 1_000_000, timeout=1000), "network.bin")
    board.learn(inputs, 3)       # inputs: 8-bit values, one for each input of the network
    print(board.predict(inputs))

docs/reference/protocol.md describes the frames, `equilif.hardware.driver` the file.
"""

import binascii
import struct

IDENTIFY, LOAD, WRITE, READ, RUN = range(1, 6)
WEIGHT, VALUE, PROGRAM, COUNTER = range(4)
LAYOUT = 3
FIELDS = 26  #: 32-bit words of the network after the four of the preamble
TRIES = 3


class EngineClient:
    def __init__(self, uart, path):
        self.uart = uart
        self.sequence = 0
        with open(path, "rb") as file:  # noqa: PTH123  MicroPython has no pathlib
            image = file.read()
        magic, layout, size, crc = struct.unpack_from("<4I", image)
        if (magic, layout, size) != (0x4E4C5145, LAYOUT, len(image)) or crc != binascii.crc32(image[16:]):
            raise ValueError(f"{path} is no image of a network: write it by equilif export --network")
        fields = struct.unpack_from(f"<{FIELDS}I", image, 16)
        (self.num_inputs, self.num_outputs), self.first, self.size = fields[5:7], fields[8], fields[9]
        first_constant, num_constants, num_program = fields[10:13]
        num_weights, counter, num_input_blocks, num_rate_blocks, num_tokens = fields[14:19]
        if num_tokens:
            raise ValueError(f"{path} has a network for sequences, whose tokens this example does not write")
        at = 16 + 4 * FIELDS
        program = image[at : at + 4 * num_program]
        at += len(program)
        count = 1 + num_input_blocks + num_rate_blocks
        blocks = [struct.unpack_from("<4I", image, at + 16 * k) for k in range(count)]
        self.target, self.inputs = blocks[0], blocks[1 : 1 + num_input_blocks]
        at += 16 * count
        weights = image[at : at + 2 * num_weights]
        constants = image[at + len(weights) + len(weights) % 4 :][:num_constants]
        self.payload = struct.unpack_from("<H", self.command(IDENTIFY), 16)[0]
        self.command(LOAD, program)
        if num_constants:
            self.write(VALUE, first_constant, constants, 1)
        self.write(WEIGHT, 0, weights, 2)
        self.write(COUNTER, 0, struct.pack("<I", counter), 4)

    def learn(self, inputs, label):
        """Learn a sample; the class that was predicted before."""
        return self.run(inputs, label)

    def predict(self, inputs):
        """The class of a sample."""
        return self.run(inputs, None)

    def run(self, inputs, label):
        if len(inputs) != self.num_inputs or label is not None and not 0 <= label < self.num_outputs:
            raise ValueError(f"a sample has {self.num_inputs} inputs, and a class below {self.num_outputs}")
        values = bytearray(self.size)
        at = 0
        for first, rows, width, stride in self.inputs:
            for row in range(rows):
                place = first - self.first + row * stride
                values[place : place + width] = bytes(inputs[at : at + width])
                at += width
        if label is not None:
            values[self.target[0] - self.first + label] = 255
        header = struct.pack("<BIHI", label is not None, 0, 0, self.first)
        return struct.unpack_from("<H", self.command(RUN, header + values))[0]

    def write(self, region, first, data, size):
        step = (self.payload - 5) // size * size
        for at in range(0, len(data), step):
            self.command(WRITE, struct.pack("<BI", region, first + at // size) + data[at : at + step])

    def command(self, code, payload=b""):
        """The payload of the reply; a lost command is repeated, which the board notices."""
        self.sequence = self.sequence % 255 + 1
        body = bytes((code, self.sequence)) + payload
        body += struct.pack("<I", binascii.crc32(body))
        frame = body.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0"
        for _ in range(TRIES):
            self.uart.write(frame)
            reply = self.receive()
            if reply is not None and reply[1] == self.sequence:
                if reply[0]:
                    raise OSError(f"the board answers with status {reply[0]}")
                return reply[2:]
        raise OSError("no answer: check wires and baud rate")

    def receive(self):
        """A frame without its CRC; None when none comes in time, or a damaged one."""
        packet = b""
        while not packet.endswith(b"\xc0"):
            byte = self.uart.read(1)
            if not byte:
                return None
            packet += byte
        body = packet[:-1].replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb")
        if len(body) < 6 or struct.unpack("<I", body[-4:])[0] != binascii.crc32(body[:-4]):
            return None
        return body[:-4]
