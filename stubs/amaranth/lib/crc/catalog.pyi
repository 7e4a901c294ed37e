from amaranth.lib.crc import Algorithm

CRC32_ISO_HDLC: Algorithm
