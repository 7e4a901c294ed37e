// One sample through the exported engine, over AXI4-Lite: what a processor would do, as a test bench.
//
// examples/axi_export.py writes the files that are read here and runs this with Icarus Verilog. Registers and
// their fields are those of registers.md, which `equilif export` writes beside the Verilog.

`timescale 1ns / 1ns

module testbench;
  parameter PROGRAM_WORDS = 0;
  parameter WEIGHTS = 0;
  parameter CONSTANTS = 0;
  parameter INPUTS = 0;
  parameter FIRST_CONSTANT = 0;
  parameter FIRST_INPUT = 0;

  // offsets of registers
  localparam ID = 8'h00, CONTROL = 8'h20, STATUS = 8'h24, LOAD = 8'h2C, REGION = 8'h34, ADDRESS = 8'h38;
  localparam DATA = 8'h3C, PREDICTION = 8'h60, CYCLES = 8'h64;
  // regions
  localparam REGION_WEIGHTS = 0, REGION_VALUES = 1, REGION_PROGRAM = 2;

  reg aclk = 0;
  reg aresetn = 0;
  always #5 aclk = !aclk;

  reg [7:0] awaddr, araddr;
  reg [31:0] wdata;
  reg awvalid = 0, wvalid = 0, arvalid = 0;
  wire awready, wready, bvalid, arready, rvalid, irq;
  wire [1:0] bresp, rresp;
  wire [31:0] rdata;

  equilif engine (
      .aclk(aclk), .aresetn(aresetn), .irq(irq),
      .s_axi_awaddr(awaddr), .s_axi_awvalid(awvalid), .s_axi_awready(awready),
      .s_axi_wdata(wdata), .s_axi_wstrb(4'hF), .s_axi_wvalid(wvalid), .s_axi_wready(wready),
      .s_axi_bresp(bresp), .s_axi_bvalid(bvalid), .s_axi_bready(1'b1),
      .s_axi_araddr(araddr), .s_axi_arvalid(arvalid), .s_axi_arready(arready),
      .s_axi_rdata(rdata), .s_axi_rresp(rresp), .s_axi_rvalid(rvalid), .s_axi_rready(1'b1),
      // the streams are not used here
      .s_axis_tdata(32'b0), .s_axis_tkeep(4'b0), .s_axis_tlast(1'b0), .s_axis_tvalid(1'b0), .s_axis_tready(),
      .m_axis_tdata(), .m_axis_tlast(), .m_axis_tvalid(), .m_axis_tready(1'b1)
  );

  task write(input [7:0] offset, input [31:0] value);
    begin
      awaddr <= offset;
      wdata <= value;
      awvalid <= 1;
      wvalid <= 1;
      fork
        begin
          @(posedge aclk);
          while (!awready) @(posedge aclk);
          awvalid <= 0;
        end
        begin
          @(posedge aclk);
          while (!wready) @(posedge aclk);
          wvalid <= 0;
        end
      join
      while (!bvalid) @(posedge aclk);
      if (bresp != 0) begin
        $display("the engine refused %0h at offset %0h", value, offset);
        $finish;
      end
      @(posedge aclk);
    end
  endtask

  reg [31:0] found;

  task read(input [7:0] offset);
    begin
      araddr <= offset;
      arvalid <= 1;
      @(posedge aclk);
      while (!arready) @(posedge aclk);
      arvalid <= 0;
      while (!rvalid) @(posedge aclk);
      found = rdata;
      @(posedge aclk);
    end
  endtask

  reg [31:0] program_words[0:PROGRAM_WORDS - 1];
  reg [15:0] weights[0:WEIGHTS - 1];
  reg [15:0] constants[0:CONSTANTS - 1];
  reg [15:0] inputs[0:INPUTS - 1];
  integer k;

  initial begin
    $readmemh("program.hex", program_words);
    $readmemh("weights.hex", weights);
    $readmemh("constants.hex", constants);
    $readmemh("inputs.hex", inputs);
    repeat (4) @(posedge aclk);
    aresetn <= 1;
    @(posedge aclk);

    read(ID);
    if (found != 32'h464C5145) $display("no engine here: %0h", found);

    // once: program, weights, constants.  ADDRESS counts up by itself
    write(REGION, REGION_PROGRAM);
    write(ADDRESS, 0);
    for (k = 0; k < PROGRAM_WORDS; k = k + 1) write(DATA, program_words[k]);
    write(LOAD, PROGRAM_WORDS / 3);
    write(REGION, REGION_WEIGHTS);
    write(ADDRESS, 0);
    for (k = 0; k < WEIGHTS; k = k + 1) write(DATA, weights[k]);
    write(REGION, REGION_VALUES);
    write(ADDRESS, FIRST_CONSTANT);
    for (k = 0; k < CONSTANTS; k = k + 1) write(DATA, constants[k]);

    // for each sample
    write(ADDRESS, FIRST_INPUT);
    for (k = 0; k < INPUTS; k = k + 1) write(DATA, inputs[k]);
    write(CONTROL, 1);
    found = 4;
    while (found & 4) read(STATUS);  // BUSY
    read(PREDICTION);
    $display("class %0d", found);
    read(CYCLES);
    $display("cycles %0d", found);
    $finish;
  end
endmodule
