// Primitives of Gowin's GW1N and GW2A that Yosys has as black boxes only, for the simulation of a netlist.
//
// As far as synth_gowin uses them.  After Gowin's guides to BSRAM (UG285) and DSP (UG287).


// what a block holds at the start, and all of that as one number
`define EQUILIF_CONTENT(bits) \
    parameter [bits-1:0] INIT_RAM_00 = 0; parameter [bits-1:0] INIT_RAM_01 = 0; \
    parameter [bits-1:0] INIT_RAM_02 = 0; parameter [bits-1:0] INIT_RAM_03 = 0; \
    parameter [bits-1:0] INIT_RAM_04 = 0; parameter [bits-1:0] INIT_RAM_05 = 0; \
    parameter [bits-1:0] INIT_RAM_06 = 0; parameter [bits-1:0] INIT_RAM_07 = 0; \
    parameter [bits-1:0] INIT_RAM_08 = 0; parameter [bits-1:0] INIT_RAM_09 = 0; \
    parameter [bits-1:0] INIT_RAM_0A = 0; parameter [bits-1:0] INIT_RAM_0B = 0; \
    parameter [bits-1:0] INIT_RAM_0C = 0; parameter [bits-1:0] INIT_RAM_0D = 0; \
    parameter [bits-1:0] INIT_RAM_0E = 0; parameter [bits-1:0] INIT_RAM_0F = 0; \
    parameter [bits-1:0] INIT_RAM_10 = 0; parameter [bits-1:0] INIT_RAM_11 = 0; \
    parameter [bits-1:0] INIT_RAM_12 = 0; parameter [bits-1:0] INIT_RAM_13 = 0; \
    parameter [bits-1:0] INIT_RAM_14 = 0; parameter [bits-1:0] INIT_RAM_15 = 0; \
    parameter [bits-1:0] INIT_RAM_16 = 0; parameter [bits-1:0] INIT_RAM_17 = 0; \
    parameter [bits-1:0] INIT_RAM_18 = 0; parameter [bits-1:0] INIT_RAM_19 = 0; \
    parameter [bits-1:0] INIT_RAM_1A = 0; parameter [bits-1:0] INIT_RAM_1B = 0; \
    parameter [bits-1:0] INIT_RAM_1C = 0; parameter [bits-1:0] INIT_RAM_1D = 0; \
    parameter [bits-1:0] INIT_RAM_1E = 0; parameter [bits-1:0] INIT_RAM_1F = 0; \
    parameter [bits-1:0] INIT_RAM_20 = 0; parameter [bits-1:0] INIT_RAM_21 = 0; \
    parameter [bits-1:0] INIT_RAM_22 = 0; parameter [bits-1:0] INIT_RAM_23 = 0; \
    parameter [bits-1:0] INIT_RAM_24 = 0; parameter [bits-1:0] INIT_RAM_25 = 0; \
    parameter [bits-1:0] INIT_RAM_26 = 0; parameter [bits-1:0] INIT_RAM_27 = 0; \
    parameter [bits-1:0] INIT_RAM_28 = 0; parameter [bits-1:0] INIT_RAM_29 = 0; \
    parameter [bits-1:0] INIT_RAM_2A = 0; parameter [bits-1:0] INIT_RAM_2B = 0; \
    parameter [bits-1:0] INIT_RAM_2C = 0; parameter [bits-1:0] INIT_RAM_2D = 0; \
    parameter [bits-1:0] INIT_RAM_2E = 0; parameter [bits-1:0] INIT_RAM_2F = 0; \
    parameter [bits-1:0] INIT_RAM_30 = 0; parameter [bits-1:0] INIT_RAM_31 = 0; \
    parameter [bits-1:0] INIT_RAM_32 = 0; parameter [bits-1:0] INIT_RAM_33 = 0; \
    parameter [bits-1:0] INIT_RAM_34 = 0; parameter [bits-1:0] INIT_RAM_35 = 0; \
    parameter [bits-1:0] INIT_RAM_36 = 0; parameter [bits-1:0] INIT_RAM_37 = 0; \
    parameter [bits-1:0] INIT_RAM_38 = 0; parameter [bits-1:0] INIT_RAM_39 = 0; \
    parameter [bits-1:0] INIT_RAM_3A = 0; parameter [bits-1:0] INIT_RAM_3B = 0; \
    parameter [bits-1:0] INIT_RAM_3C = 0; parameter [bits-1:0] INIT_RAM_3D = 0; \
    parameter [bits-1:0] INIT_RAM_3E = 0; parameter [bits-1:0] INIT_RAM_3F = 0;
`define EQUILIF_JOINED \
    {INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, INIT_RAM_39, \
        INIT_RAM_38, INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, INIT_RAM_33, INIT_RAM_32, \
        INIT_RAM_31, INIT_RAM_30, INIT_RAM_2F, INIT_RAM_2E, INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B, \
        INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28, INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24, \
        INIT_RAM_23, INIT_RAM_22, INIT_RAM_21, INIT_RAM_20, INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D, \
        INIT_RAM_1C, INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18, INIT_RAM_17, INIT_RAM_16, \
        INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10, INIT_RAM_0F, \
        INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, INIT_RAM_09, INIT_RAM_08, \
        INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, INIT_RAM_03, INIT_RAM_02, INIT_RAM_01, \
        INIT_RAM_00}


// A register behind a block RAM; reset wins.
module equilif_bsram_register #(
    parameter RESET_MODE = "SYNC"
) (
    input clock, enable, reset,
    input [35:0] d,
    output reg [35:0] q = 0
);
    generate
        if (RESET_MODE == "ASYNC") begin
            always @(posedge clock or posedge reset)
                if (reset)
                    q <= 0;
                else if (enable)
                    q <= d;
        end else begin
            always @(posedge clock)
                if (reset)
                    q <= 0;
                else if (enable)
                    q <= d;
        end
    endgenerate
endmodule


// Block RAM of 2,048 bytes of BYTE bits, with two ports; a byte is 9 bits on the way in and out.
//
// Each port, in the cycles in which its CE is high and its BLKSEL is BLK_SEL: reads, or writes where WRE is
// high.  What it puts out while it writes is WRITE_MODE's: nothing new (0), the new word (1), or the old one
// (2).  READ_MODE 1: another register behind it, which OCE enables.  Latency 1, or 2.  Words of two and four
// bytes have enables of bytes in the address' low bits.  A read of a word that the other port writes in the
// same cycle finds the old one, which the device does not promise.
module equilif_bsram #(
    parameter BYTE = 8,
    parameter WIDTH_A = 16,
    parameter WIDTH_B = 16,
    parameter READ_MODE_A = 0,
    parameter READ_MODE_B = 0,
    parameter WRITE_MODE_A = 0,
    parameter WRITE_MODE_B = 0,
    parameter [2:0] BLK_SEL_A = 0,
    parameter [2:0] BLK_SEL_B = 0,
    parameter RESET_MODE = "SYNC",
    parameter [2048*BYTE-1:0] CONTENT = 0
) (
    input clka, cea, ocea, reseta, wrea,
    input [2:0] blksela,
    input [13:0] ada,
    input [35:0] dia,
    output [35:0] doa,
    input clkb, ceb, oceb, resetb, wreb,
    input [2:0] blkselb,
    input [13:0] adb,
    input [35:0] dib,
    output [35:0] dob
);
    reg [8:0] bytes[0:2047];
    integer k;
    initial
        for (k = 0; k < 2048; k = k + 1)
            bytes[k] = CONTENT[k*BYTE +: BYTE];

    wire active_a = cea & blksela == BLK_SEL_A;
    wire active_b = ceb & blkselb == BLK_SEL_B;

    // what a port puts out without and with another register
    wire [35:0] node_a, node_b, register_a, register_b;

    // the four bytes around an address
    wire [35:0] four_a = {
        bytes[{ada[13:5], 2'd3}], bytes[{ada[13:5], 2'd2}], bytes[{ada[13:5], 2'd1}], bytes[{ada[13:5], 2'd0}]
    };
    wire [35:0] four_b = {
        bytes[{adb[13:5], 2'd3}], bytes[{adb[13:5], 2'd2}], bytes[{adb[13:5], 2'd1}], bytes[{adb[13:5], 2'd0}]
    };

    // word of a width at an address, of the four bytes around it
    function [35:0] stored(input integer width, input [13:0] at, input [35:0] four);
        case (width)
            1: stored = four[at[4:3] * 9 + at[2:0]];
            2: stored = four[at[4:3] * 9 + {at[2:1], 1'b0} +: 2];
            4: stored = four[at[4:3] * 9 + {at[2], 2'b0} +: 4];
            8, 9: stored = four[at[4:3] * 9 +: 9];
            16, 18: stored = four[at[4] * 18 +: 18];
            default: stored = four;
        endcase
    endfunction

    // what a port puts out that writes a word through: of two bytes those that it writes
    function [35:0] through(input integer width, input [13:0] at, input [35:0] word, input [35:0] old);
        through = word;
        if (width > 9) begin
            if (!at[0])
                through[8:0] = old[8:0];
            if (!at[1])
                through[17:9] = old[17:9];
        end
        if (width > 18) begin
            if (!at[2])
                through[26:18] = old[26:18];
            if (!at[3])
                through[35:27] = old[35:27];
        end
    endfunction

    task store(input integer width, input [13:0] at, input [35:0] word);
        case (width)
            1: bytes[at[13:3]][at[2:0]] <= word[0];
            2: bytes[at[13:3]][{at[2:1], 1'b0} +: 2] <= word[1:0];
            4: bytes[at[13:3]][{at[2], 2'b0} +: 4] <= word[3:0];
            8, 9: bytes[at[13:3]] <= word[8:0];
            16, 18: begin
                if (at[0])
                    bytes[{at[13:4], 1'd0}] <= word[8:0];
                if (at[1])
                    bytes[{at[13:4], 1'd1}] <= word[17:9];
            end
            default: begin
                if (at[0])
                    bytes[{at[13:5], 2'd0}] <= word[8:0];
                if (at[1])
                    bytes[{at[13:5], 2'd1}] <= word[17:9];
                if (at[2])
                    bytes[{at[13:5], 2'd2}] <= word[26:18];
                if (at[3])
                    bytes[{at[13:5], 2'd3}] <= word[35:27];
            end
        endcase
    endtask

    always @(posedge clka)
        if (active_a & wrea)
            store(WIDTH_A, ada, dia);
    always @(posedge clkb)
        if (active_b & wreb)
            store(WIDTH_B, adb, dib);

    wire [35:0] old_a = stored(WIDTH_A, ada, four_a);
    wire [35:0] next_a = wrea & WRITE_MODE_A == 1 ? through(WIDTH_A, ada, dia, old_a) : old_a;
    equilif_bsram_register #(.RESET_MODE(RESET_MODE)) bypass_a(
        .clock(clka), .enable(active_a & (~wrea | WRITE_MODE_A != 0)), .reset(reseta),
        .d(next_a), .q(node_a)
    );
    equilif_bsram_register #(.RESET_MODE(RESET_MODE)) pipeline_a(
        .clock(clka), .enable(ocea), .reset(reseta), .d(node_a), .q(register_a)
    );
    assign doa = READ_MODE_A ? register_a : node_a;

    wire [35:0] old_b = stored(WIDTH_B, adb, four_b);
    wire [35:0] next_b = wreb & WRITE_MODE_B == 1 ? through(WIDTH_B, adb, dib, old_b) : old_b;
    equilif_bsram_register #(.RESET_MODE(RESET_MODE)) bypass_b(
        .clock(clkb), .enable(active_b & (~wreb | WRITE_MODE_B != 0)), .reset(resetb),
        .d(next_b), .q(node_b)
    );
    equilif_bsram_register #(.RESET_MODE(RESET_MODE)) pipeline_b(
        .clock(clkb), .enable(oceb), .reset(resetb), .d(node_b), .q(register_b)
    );
    assign dob = READ_MODE_B ? register_b : node_b;
endmodule


// The block as Gowin names it: with bytes of 8 or 9 bits; two ports that read and write, or A that writes and
// B that reads.
module DPB(
    input CLKA, CEA, OCEA, RESETA, WREA,
    input [2:0] BLKSELA,
    input [13:0] ADA,
    input [15:0] DIA,
    output [15:0] DOA,
    input CLKB, CEB, OCEB, RESETB, WREB,
    input [2:0] BLKSELB,
    input [13:0] ADB,
    input [15:0] DIB,
    output [15:0] DOB
);
    parameter READ_MODE0 = 1'b0;
    parameter READ_MODE1 = 1'b0;
    parameter WRITE_MODE0 = 2'b00;
    parameter WRITE_MODE1 = 2'b00;
    parameter BIT_WIDTH_0 = 16;
    parameter BIT_WIDTH_1 = 16;
    parameter BLK_SEL_0 = 3'b000;
    parameter BLK_SEL_1 = 3'b000;
    parameter RESET_MODE = "SYNC";
    `EQUILIF_CONTENT(256)

    wire [35:0] a, b;
    equilif_bsram #(
        .BYTE(8), .WIDTH_A(BIT_WIDTH_0), .WIDTH_B(BIT_WIDTH_1), .READ_MODE_A(READ_MODE0),
        .READ_MODE_B(READ_MODE1), .WRITE_MODE_A(WRITE_MODE0), .WRITE_MODE_B(WRITE_MODE1),
        .BLK_SEL_A(BLK_SEL_0), .BLK_SEL_B(BLK_SEL_1), .RESET_MODE(RESET_MODE), .CONTENT(`EQUILIF_JOINED)
    ) memory(
        .clka(CLKA), .cea(CEA), .ocea(OCEA), .reseta(RESETA), .wrea(WREA), .blksela(BLKSELA), .ada(ADA),
        .dia({1'b0, DIA[15:8], 1'b0, DIA[7:0]}), .doa(a),
        .clkb(CLKB), .ceb(CEB), .oceb(OCEB), .resetb(RESETB), .wreb(WREB), .blkselb(BLKSELB), .adb(ADB),
        .dib({1'b0, DIB[15:8], 1'b0, DIB[7:0]}), .dob(b)
    );
    assign DOA = {a[16:9], a[7:0]};
    assign DOB = {b[16:9], b[7:0]};
endmodule


module DPX9B(
    input CLKA, CEA, OCEA, RESETA, WREA,
    input [2:0] BLKSELA,
    input [13:0] ADA,
    input [17:0] DIA,
    output [17:0] DOA,
    input CLKB, CEB, OCEB, RESETB, WREB,
    input [2:0] BLKSELB,
    input [13:0] ADB,
    input [17:0] DIB,
    output [17:0] DOB
);
    parameter READ_MODE0 = 1'b0;
    parameter READ_MODE1 = 1'b0;
    parameter WRITE_MODE0 = 2'b00;
    parameter WRITE_MODE1 = 2'b00;
    parameter BIT_WIDTH_0 = 18;
    parameter BIT_WIDTH_1 = 18;
    parameter BLK_SEL_0 = 3'b000;
    parameter BLK_SEL_1 = 3'b000;
    parameter RESET_MODE = "SYNC";
    `EQUILIF_CONTENT(288)

    wire [35:0] a, b;
    equilif_bsram #(
        .BYTE(9), .WIDTH_A(BIT_WIDTH_0), .WIDTH_B(BIT_WIDTH_1), .READ_MODE_A(READ_MODE0),
        .READ_MODE_B(READ_MODE1), .WRITE_MODE_A(WRITE_MODE0), .WRITE_MODE_B(WRITE_MODE1),
        .BLK_SEL_A(BLK_SEL_0), .BLK_SEL_B(BLK_SEL_1), .RESET_MODE(RESET_MODE), .CONTENT(`EQUILIF_JOINED)
    ) memory(
        .clka(CLKA), .cea(CEA), .ocea(OCEA), .reseta(RESETA), .wrea(WREA), .blksela(BLKSELA), .ada(ADA),
        .dia(DIA), .doa(a),
        .clkb(CLKB), .ceb(CEB), .oceb(OCEB), .resetb(RESETB), .wreb(WREB), .blkselb(BLKSELB), .adb(ADB),
        .dib(DIB), .dob(b)
    );
    assign DOA = a;
    assign DOB = b;
endmodule


module SDPB(
    input CLKA, CEA, RESETA,
    input [2:0] BLKSELA,
    input [13:0] ADA,
    input [31:0] DI,
    input CLKB, CEB, OCE, RESETB,
    input [2:0] BLKSELB,
    input [13:0] ADB,
    output [31:0] DO
);
    parameter READ_MODE = 1'b0;
    parameter BIT_WIDTH_0 = 32;
    parameter BIT_WIDTH_1 = 32;
    parameter BLK_SEL_0 = 3'b000;
    parameter BLK_SEL_1 = 3'b000;
    parameter RESET_MODE = "SYNC";
    `EQUILIF_CONTENT(256)

    wire [35:0] none, b;
    equilif_bsram #(
        .BYTE(8), .WIDTH_A(BIT_WIDTH_0), .WIDTH_B(BIT_WIDTH_1), .READ_MODE_B(READ_MODE),
        .BLK_SEL_A(BLK_SEL_0), .BLK_SEL_B(BLK_SEL_1), .RESET_MODE(RESET_MODE), .CONTENT(`EQUILIF_JOINED)
    ) memory(
        .clka(CLKA), .cea(CEA), .ocea(1'b0), .reseta(RESETA), .wrea(1'b1), .blksela(BLKSELA), .ada(ADA),
        .dia({1'b0, DI[31:24], 1'b0, DI[23:16], 1'b0, DI[15:8], 1'b0, DI[7:0]}), .doa(none),
        .clkb(CLKB), .ceb(CEB), .oceb(OCE), .resetb(RESETB), .wreb(1'b0), .blkselb(BLKSELB), .adb(ADB),
        .dib(36'b0), .dob(b)
    );
    assign DO = {b[34:27], b[25:18], b[16:9], b[7:0]};
endmodule


module SDPX9B(
    input CLKA, CEA, RESETA,
    input [2:0] BLKSELA,
    input [13:0] ADA,
    input [35:0] DI,
    input CLKB, CEB, OCE, RESETB,
    input [2:0] BLKSELB,
    input [13:0] ADB,
    output [35:0] DO
);
    parameter READ_MODE = 1'b0;
    parameter BIT_WIDTH_0 = 36;
    parameter BIT_WIDTH_1 = 36;
    parameter BLK_SEL_0 = 3'b000;
    parameter BLK_SEL_1 = 3'b000;
    parameter RESET_MODE = "SYNC";
    `EQUILIF_CONTENT(288)

    wire [35:0] none, b;
    equilif_bsram #(
        .BYTE(9), .WIDTH_A(BIT_WIDTH_0), .WIDTH_B(BIT_WIDTH_1), .READ_MODE_B(READ_MODE),
        .BLK_SEL_A(BLK_SEL_0), .BLK_SEL_B(BLK_SEL_1), .RESET_MODE(RESET_MODE), .CONTENT(`EQUILIF_JOINED)
    ) memory(
        .clka(CLKA), .cea(CEA), .ocea(1'b0), .reseta(RESETA), .wrea(1'b1), .blksela(BLKSELA), .ada(ADA),
        .dia(DI), .doa(none),
        .clkb(CLKB), .ceb(CEB), .oceb(OCE), .resetb(RESETB), .wreb(1'b0), .blkselb(BLKSELB), .adb(ADB),
        .dib(36'b0), .dob(b)
    );
    assign DO = b;
endmodule


// Product of two numbers of 18 bits, signed where ASIGN or BSIGN say so.
//
// ASEL and BSEL take a number from the block before.  Registers are not modelled: synth_gowin uses none, and
// a netlist that does asks for a module that nobody has.
module MULT18X18(
    input [17:0] A, B, SIA, SIB,
    input ASIGN, BSIGN, ASEL, BSEL, CE, CLK, RESET,
    output [35:0] DOUT
);
    parameter AREG = 1'b0;
    parameter BREG = 1'b0;
    parameter OUT_REG = 1'b0;
    parameter PIPE_REG = 1'b0;
    parameter ASIGN_REG = 1'b0;
    parameter BSIGN_REG = 1'b0;
    parameter SOA_REG = 1'b0;
    parameter MULT_RESET_MODE = "SYNC";

    generate
        if (AREG | BREG | OUT_REG | PIPE_REG | ASIGN_REG | BSIGN_REG | SOA_REG)
            equilif_registers_are_not_modelled registers();
    endgenerate

    wire [17:0] a = ASEL ? SIA : A;
    wire [17:0] b = BSEL ? SIB : B;
    wire signed [35:0] wide_a = {{18{ASIGN & a[17]}}, a};
    wire signed [35:0] wide_b = {{18{BSIGN & b[17]}}, b};
    assign DOUT = wide_a * wide_b;
endmodule
