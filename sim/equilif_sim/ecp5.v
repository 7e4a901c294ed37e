// Primitives of the ECP5 that Yosys has as black boxes only, for the simulation of a netlist.
//
// As far as synth_ecp5 and equilif_boards.ecp5 use them.  After Lattice's guides to memory (FPGA-TN-02204)
// and DSP (FPGA-TN-02205).


// Block RAM of 16 Kbit and a parity bit for every byte.
//
// Each port, in the cycles in which CE is high and CS is 0: reads, or writes where WE is high.  What it puts
// out while it writes is WRITEMODE's: nothing new (NORMAL), the new word (WRITETHROUGH), or the old one
// (READBEFOREWRITE).  REGMODE OUTREG: another register behind it, which OCE alone enables.  Latency 1, or 2.
// Words of 18 and 36 bits have enables of bytes in the address' low bits.  DATA_WIDTH_A of 36: A writes
// through DIB, DIA, and B reads; words of 36 bits through DOB, DOA.  A read of a word that the other port
// writes in the same cycle finds the old one, which the device does not promise.
module DP16KD(
    input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4,
    DIA3, DIA2, DIA1, DIA0,
    input ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
    input CLKA, CEA, OCEA, WEA, RSTA, CSA2, CSA1, CSA0,
    output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4,
    DOA3, DOA2, DOA1, DOA0,
    input DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4,
    DIB3, DIB2, DIB1, DIB0,
    input ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
    input CLKB, CEB, OCEB, WEB, RSTB, CSB2, CSB1, CSB0,
    output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4,
    DOB3, DOB2, DOB1, DOB0
);
    parameter DATA_WIDTH_A = 18;
    parameter DATA_WIDTH_B = 18;
    parameter REGMODE_A = "NOREG";
    parameter REGMODE_B = "NOREG";
    parameter WRITEMODE_A = "NORMAL";
    parameter WRITEMODE_B = "NORMAL";
    parameter CLKAMUX = "CLKA";
    parameter CLKBMUX = "CLKB";
    parameter RESETMODE = "SYNC";
    parameter ASYNC_RESET_RELEASE = "SYNC";
    parameter CSDECODE_A = "0b000";
    parameter CSDECODE_B = "0b000";
    parameter GSR = "ENABLED";
    parameter [319:0] INITVAL_00 = 320'b0;
    parameter [319:0] INITVAL_01 = 320'b0;
    parameter [319:0] INITVAL_02 = 320'b0;
    parameter [319:0] INITVAL_03 = 320'b0;
    parameter [319:0] INITVAL_04 = 320'b0;
    parameter [319:0] INITVAL_05 = 320'b0;
    parameter [319:0] INITVAL_06 = 320'b0;
    parameter [319:0] INITVAL_07 = 320'b0;
    parameter [319:0] INITVAL_08 = 320'b0;
    parameter [319:0] INITVAL_09 = 320'b0;
    parameter [319:0] INITVAL_0A = 320'b0;
    parameter [319:0] INITVAL_0B = 320'b0;
    parameter [319:0] INITVAL_0C = 320'b0;
    parameter [319:0] INITVAL_0D = 320'b0;
    parameter [319:0] INITVAL_0E = 320'b0;
    parameter [319:0] INITVAL_0F = 320'b0;
    parameter [319:0] INITVAL_10 = 320'b0;
    parameter [319:0] INITVAL_11 = 320'b0;
    parameter [319:0] INITVAL_12 = 320'b0;
    parameter [319:0] INITVAL_13 = 320'b0;
    parameter [319:0] INITVAL_14 = 320'b0;
    parameter [319:0] INITVAL_15 = 320'b0;
    parameter [319:0] INITVAL_16 = 320'b0;
    parameter [319:0] INITVAL_17 = 320'b0;
    parameter [319:0] INITVAL_18 = 320'b0;
    parameter [319:0] INITVAL_19 = 320'b0;
    parameter [319:0] INITVAL_1A = 320'b0;
    parameter [319:0] INITVAL_1B = 320'b0;
    parameter [319:0] INITVAL_1C = 320'b0;
    parameter [319:0] INITVAL_1D = 320'b0;
    parameter [319:0] INITVAL_1E = 320'b0;
    parameter [319:0] INITVAL_1F = 320'b0;
    parameter [319:0] INITVAL_20 = 320'b0;
    parameter [319:0] INITVAL_21 = 320'b0;
    parameter [319:0] INITVAL_22 = 320'b0;
    parameter [319:0] INITVAL_23 = 320'b0;
    parameter [319:0] INITVAL_24 = 320'b0;
    parameter [319:0] INITVAL_25 = 320'b0;
    parameter [319:0] INITVAL_26 = 320'b0;
    parameter [319:0] INITVAL_27 = 320'b0;
    parameter [319:0] INITVAL_28 = 320'b0;
    parameter [319:0] INITVAL_29 = 320'b0;
    parameter [319:0] INITVAL_2A = 320'b0;
    parameter [319:0] INITVAL_2B = 320'b0;
    parameter [319:0] INITVAL_2C = 320'b0;
    parameter [319:0] INITVAL_2D = 320'b0;
    parameter [319:0] INITVAL_2E = 320'b0;
    parameter [319:0] INITVAL_2F = 320'b0;
    parameter [319:0] INITVAL_30 = 320'b0;
    parameter [319:0] INITVAL_31 = 320'b0;
    parameter [319:0] INITVAL_32 = 320'b0;
    parameter [319:0] INITVAL_33 = 320'b0;
    parameter [319:0] INITVAL_34 = 320'b0;
    parameter [319:0] INITVAL_35 = 320'b0;
    parameter [319:0] INITVAL_36 = 320'b0;
    parameter [319:0] INITVAL_37 = 320'b0;
    parameter [319:0] INITVAL_38 = 320'b0;
    parameter [319:0] INITVAL_39 = 320'b0;
    parameter [319:0] INITVAL_3A = 320'b0;
    parameter [319:0] INITVAL_3B = 320'b0;
    parameter [319:0] INITVAL_3C = 320'b0;
    parameter [319:0] INITVAL_3D = 320'b0;
    parameter [319:0] INITVAL_3E = 320'b0;
    parameter [319:0] INITVAL_3F = 320'b0;

    localparam PSEUDO_DUAL = DATA_WIDTH_A == 36;
    // 16 words of 18 bits, 20 bits apart, in each
    localparam [20479:0] INITIAL = {
        INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39, INITVAL_38,
        INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32, INITVAL_31, INITVAL_30,
        INITVAL_2F, INITVAL_2E, INITVAL_2D, INITVAL_2C, INITVAL_2B, INITVAL_2A, INITVAL_29, INITVAL_28,
        INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24, INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20,
        INITVAL_1F, INITVAL_1E, INITVAL_1D, INITVAL_1C, INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18,
        INITVAL_17, INITVAL_16, INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10,
        INITVAL_0F, INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A, INITVAL_09, INITVAL_08,
        INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01, INITVAL_00
    };

    reg [8:0] bytes [0:2047];
    integer k;
    initial
        for (k = 0; k < 2048; k = k + 1)
            bytes[k] = INITIAL[k / 2 * 20 + k % 2 * 9 +: 9];

    wire [13:0] address_a = {
        ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0
    };
    wire [17:0] data_a = {
        DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3,
        DIA2, DIA1, DIA0
    };
    wire [13:0] address_b = {
        ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0
    };
    wire [17:0] data_b = {
        DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3,
        DIB2, DIB1, DIB0
    };

    wire clock_a = CLKAMUX == "INV" ? ~CLKA : CLKA;
    wire clock_b = CLKBMUX == "INV" ? ~CLKB : CLKB;
    wire active_a = CEA & ~CSA2 & ~CSA1 & ~CSA0;
    wire active_b = CEB & ~CSB2 & ~CSB1 & ~CSB0;
    wire write_a = WEA | PSEUDO_DUAL;
    wire write_b = WEB & ~PSEUDO_DUAL;

    // what the memory has put out, and the registers behind it
    reg [35:0] node_a = 0;
    reg [35:0] node_b = 0;
    reg [35:0] register_a = 0;
    reg [35:0] register_b = 0;

    // word of a width at an address
    function [35:0] stored(input integer width, input [13:0] at);
        case (width)
            1: stored = bytes[at[13:3]][at[2:0]];
            2: stored = bytes[at[13:3]][{at[2:1], 1'b0} +: 2];
            4: stored = bytes[at[13:3]][{at[2], 2'b0} +: 4];
            9: stored = bytes[at[13:3]];
            18: stored = {bytes[{at[13:4], 1'd1}], bytes[{at[13:4], 1'd0}]};
            default: begin
                stored[17:0] = {bytes[{at[13:5], 2'd1}], bytes[{at[13:5], 2'd0}]};
                stored[35:18] = {bytes[{at[13:5], 2'd3}], bytes[{at[13:5], 2'd2}]};
            end
        endcase
    endfunction

    // what a port puts out that writes a word through
    function [35:0] through(input integer width, input [13:0] at, input [35:0] word, input [35:0] old);
        through = word;
        if (width == 18) begin
            if (!at[0])
                through[8:0] = old[8:0];
            if (!at[1])
                through[17:9] = old[17:9];
        end
    endfunction

    task store(input integer width, input [13:0] at, input [35:0] word);
        case (width)
            1: bytes[at[13:3]][at[2:0]] <= word[0];
            2: bytes[at[13:3]][{at[2:1], 1'b0} +: 2] <= word[1:0];
            4: bytes[at[13:3]][{at[2], 2'b0} +: 4] <= word[3:0];
            9: bytes[at[13:3]] <= word[8:0];
            18: begin
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

    always @(posedge clock_a) begin
        if (RSTA)
            node_a <= 0;
        else if (active_a) begin
            if (write_a)
                store(DATA_WIDTH_A, address_a, PSEUDO_DUAL ? {data_b, data_a} : {18'b0, data_a});
            if (!write_a || WRITEMODE_A == "READBEFOREWRITE")
                node_a <= stored(DATA_WIDTH_A, address_a);
            else if (WRITEMODE_A == "WRITETHROUGH")
                node_a <= through(DATA_WIDTH_A, address_a, {18'b0, data_a}, node_a);
        end
        if (OCEA)
            register_a <= RSTA ? 0 : node_a;
    end

    always @(posedge clock_b) begin
        if (RSTB)
            node_b <= 0;
        else if (active_b) begin
            if (write_b)
                store(DATA_WIDTH_B, address_b, {18'b0, data_b});
            if (!write_b || WRITEMODE_B == "READBEFOREWRITE")
                node_b <= stored(DATA_WIDTH_B, address_b);
            else if (WRITEMODE_B == "WRITETHROUGH")
                node_b <= through(DATA_WIDTH_B, address_b, {18'b0, data_b}, node_b);
        end
        if (OCEB)
            register_b <= RSTB ? 0 : node_b;
    end

    wire [35:0] out_a = REGMODE_A == "OUTREG" ? register_a : node_a;
    wire [35:0] out_b = REGMODE_B == "OUTREG" ? register_b : node_b;
    // a pseudo-dual port of less than 36 bits reads through B
    assign {
        DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3,
        DOA2, DOA1, DOA0
    } = PSEUDO_DUAL ? out_b[17:0] : out_a[17:0];
    assign {
        DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3,
        DOB2, DOB1, DOB0
    } = PSEUDO_DUAL && DATA_WIDTH_B == 36 ? out_b[35:18] : out_b[17:0];
endmodule


// Product of two numbers of 18 bits, signed where SIGNEDA or SIGNEDB say so.
//
// REG_INPUTA, REG_INPUTB, REG_PIPELINE and REG_OUTPUT: a register each, where its _CLK is one of CLK0 to
// CLK3; _CE and _RST name its enable and its reset, which wins.  Latency: the registers on the way.  Sums,
// cascades and the third operand are not modelled.
module MULT18X18D(
    input A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0,
    input B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0,
    input C17, C16, C15, C14, C13, C12, C11, C10, C9, C8, C7, C6, C5, C4, C3, C2, C1, C0,
    input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB,
    input CLK0, CLK1, CLK2, CLK3, CE0, CE1, CE2, CE3, RST0, RST1, RST2, RST3,
    output P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17,
    P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
);
    parameter REG_INPUTA_CLK = "NONE";
    parameter REG_INPUTA_CE = "CE0";
    parameter REG_INPUTA_RST = "RST0";
    parameter REG_INPUTB_CLK = "NONE";
    parameter REG_INPUTB_CE = "CE0";
    parameter REG_INPUTB_RST = "RST0";
    parameter REG_PIPELINE_CLK = "NONE";
    parameter REG_PIPELINE_CE = "CE0";
    parameter REG_PIPELINE_RST = "RST0";
    parameter REG_OUTPUT_CLK = "NONE";
    parameter REG_OUTPUT_CE = "CE0";
    parameter REG_OUTPUT_RST = "RST0";

    wire [17:0] a, b;
    wire signed [35:0] wide_a = {{18{SIGNEDA & a[17]}}, a};
    wire signed [35:0] wide_b = {{18{SIGNEDB & b[17]}}, b};
    wire [35:0] product = wide_a * wide_b;
    wire [35:0] piped;

    equilif_dsp_register #(
        .WIDTH(18), .CLOCK(REG_INPUTA_CLK), .ENABLE(REG_INPUTA_CE), .RESET(REG_INPUTA_RST)
    ) register_inputa(
        .clocks({CLK3, CLK2, CLK1, CLK0}),
        .enables({CE3, CE2, CE1, CE0}),
        .resets({RST3, RST2, RST1, RST0}),
        .d({A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0}),
        .q(a)
    );

    equilif_dsp_register #(
        .WIDTH(18), .CLOCK(REG_INPUTB_CLK), .ENABLE(REG_INPUTB_CE), .RESET(REG_INPUTB_RST)
    ) register_inputb(
        .clocks({CLK3, CLK2, CLK1, CLK0}),
        .enables({CE3, CE2, CE1, CE0}),
        .resets({RST3, RST2, RST1, RST0}),
        .d({B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0}),
        .q(b)
    );

    equilif_dsp_register #(
        .WIDTH(36), .CLOCK(REG_PIPELINE_CLK), .ENABLE(REG_PIPELINE_CE), .RESET(REG_PIPELINE_RST)
    ) register_pipeline(
        .clocks({CLK3, CLK2, CLK1, CLK0}),
        .enables({CE3, CE2, CE1, CE0}),
        .resets({RST3, RST2, RST1, RST0}),
        .d(product),
        .q(piped)
    );

    equilif_dsp_register #(
        .WIDTH(36), .CLOCK(REG_OUTPUT_CLK), .ENABLE(REG_OUTPUT_CE), .RESET(REG_OUTPUT_RST)
    ) register_output(
        .clocks({CLK3, CLK2, CLK1, CLK0}),
        .enables({CE3, CE2, CE1, CE0}),
        .resets({RST3, RST2, RST1, RST0}),
        .d(piped),
        .q({P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18,
        P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0})
    );
endmodule


// A register of a DSP block, or a wire where CLOCK is NONE.
module equilif_dsp_register #(
    parameter WIDTH = 18,
    parameter CLOCK = "NONE",
    parameter ENABLE = "CE0",
    parameter RESET = "RST0"
) (
    input [3:0] clocks, enables, resets,
    input [WIDTH-1:0] d,
    output [WIDTH-1:0] q
);
    generate
        if (CLOCK == "NONE")
            assign q = d;
        else begin
            reg [WIDTH-1:0] kept = 0;
            wire clock = CLOCK == "CLK0" ? clocks[0] : CLOCK == "CLK1" ? clocks[1]
                : CLOCK == "CLK2" ? clocks[2] : clocks[3];
            wire enable = ENABLE == "CE0" ? enables[0] : ENABLE == "CE1" ? enables[1]
                : ENABLE == "CE2" ? enables[2] : enables[3];
            wire reset = RESET == "RST0" ? resets[0] : RESET == "RST1" ? resets[1]
                : RESET == "RST2" ? resets[2] : resets[3];
            always @(posedge clock)
                if (reset)
                    kept <= 0;
                else if (enable)
                    kept <= d;
            assign q = kept;
        end
    endgenerate
endmodule
