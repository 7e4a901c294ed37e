// Yosys cells whose operands have other widths than their result, rewritten so that every extension and every cut can be read.
// Verilog extends by itself, which is what the cells mean, but a linter cannot tell that from a mistake (equilif/export.py).

(* techmap_celltype = "$add $sub $and $or $xor $xnor $mul" *)
module explicit_arithmetic (A, B, Y);
  parameter A_SIGNED = 0, B_SIGNED = 0, A_WIDTH = 1, B_WIDTH = 1, Y_WIDTH = 1, _TECHMAP_CELLTYPE_ = "";
  input [(A_WIDTH ? A_WIDTH : 1)-1:0] A;
  input [(B_WIDTH ? B_WIDTH : 1)-1:0] B;
  output [Y_WIDTH-1:0] Y;
  wire _TECHMAP_FAIL_ = A_WIDTH == Y_WIDTH && B_WIDTH == Y_WIDTH;
  wire [Y_WIDTH-1:0] a, b;
  \extend #(.A_SIGNED(A_SIGNED), .A_WIDTH(A_WIDTH), .Y_WIDTH(Y_WIDTH)) ea (.A(A), .Y(a));
  \extend #(.A_SIGNED(B_SIGNED), .A_WIDTH(B_WIDTH), .Y_WIDTH(Y_WIDTH)) eb (.A(B), .Y(b));
  generate
    if (_TECHMAP_CELLTYPE_ == "$add") assign Y = a + b;
    if (_TECHMAP_CELLTYPE_ == "$sub") assign Y = a - b;
    if (_TECHMAP_CELLTYPE_ == "$and") assign Y = a & b;
    if (_TECHMAP_CELLTYPE_ == "$or") assign Y = a | b;
    if (_TECHMAP_CELLTYPE_ == "$xor") assign Y = a ^ b;
    if (_TECHMAP_CELLTYPE_ == "$xnor") assign Y = a ~^ b;
    if (_TECHMAP_CELLTYPE_ == "$mul") begin
      if (A_SIGNED) assign Y = $signed(a) * $signed(b);
      else assign Y = a * b;
    end
  endgenerate
endmodule

(* techmap_celltype = "$eq $ne $lt $le $gt $ge" *)
module explicit_comparison (A, B, Y);
  parameter A_SIGNED = 0, B_SIGNED = 0, A_WIDTH = 1, B_WIDTH = 1, Y_WIDTH = 1, _TECHMAP_CELLTYPE_ = "";
  localparam W = A_WIDTH > B_WIDTH ? A_WIDTH : B_WIDTH;
  input [(A_WIDTH ? A_WIDTH : 1)-1:0] A;
  input [(B_WIDTH ? B_WIDTH : 1)-1:0] B;
  output [Y_WIDTH-1:0] Y;
  wire _TECHMAP_FAIL_ = A_WIDTH == B_WIDTH;
  wire [W-1:0] a, b;
  \extend #(.A_SIGNED(A_SIGNED), .A_WIDTH(A_WIDTH), .Y_WIDTH(W)) ea (.A(A), .Y(a));
  \extend #(.A_SIGNED(B_SIGNED), .A_WIDTH(B_WIDTH), .Y_WIDTH(W)) eb (.A(B), .Y(b));
  generate
    if (_TECHMAP_CELLTYPE_ == "$eq") assign Y = a == b;
    if (_TECHMAP_CELLTYPE_ == "$ne") assign Y = a != b;
    if (A_SIGNED) begin
      if (_TECHMAP_CELLTYPE_ == "$lt") assign Y = $signed(a) < $signed(b);
      if (_TECHMAP_CELLTYPE_ == "$le") assign Y = $signed(a) <= $signed(b);
      if (_TECHMAP_CELLTYPE_ == "$gt") assign Y = $signed(a) > $signed(b);
      if (_TECHMAP_CELLTYPE_ == "$ge") assign Y = $signed(a) >= $signed(b);
    end else begin
      if (_TECHMAP_CELLTYPE_ == "$lt") assign Y = a < b;
      if (_TECHMAP_CELLTYPE_ == "$le") assign Y = a <= b;
      if (_TECHMAP_CELLTYPE_ == "$gt") assign Y = a > b;
      if (_TECHMAP_CELLTYPE_ == "$ge") assign Y = a >= b;
    end
  endgenerate
endmodule

(* techmap_celltype = "$not $neg" *)
module explicit_unary (A, Y);
  parameter A_SIGNED = 0, A_WIDTH = 1, Y_WIDTH = 1, _TECHMAP_CELLTYPE_ = "";
  input [(A_WIDTH ? A_WIDTH : 1)-1:0] A;
  output [Y_WIDTH-1:0] Y;
  wire _TECHMAP_FAIL_ = A_WIDTH == Y_WIDTH;
  wire [Y_WIDTH-1:0] a;
  \extend #(.A_SIGNED(A_SIGNED), .A_WIDTH(A_WIDTH), .Y_WIDTH(Y_WIDTH)) ea (.A(A), .Y(a));
  generate
    if (_TECHMAP_CELLTYPE_ == "$not") assign Y = ~a;
    if (_TECHMAP_CELLTYPE_ == "$neg") assign Y = -a;
  endgenerate
endmodule

(* techmap_celltype = "$shl $shr $sshl $sshr $shift $shiftx" *)
module explicit_shift (A, B, Y);
  parameter A_SIGNED = 0, B_SIGNED = 0, A_WIDTH = 1, B_WIDTH = 1, Y_WIDTH = 1, _TECHMAP_CELLTYPE_ = "";
  localparam W = A_WIDTH > Y_WIDTH ? A_WIDTH : Y_WIDTH;
  input [(A_WIDTH ? A_WIDTH : 1)-1:0] A;
  input [(B_WIDTH ? B_WIDTH : 1)-1:0] B;
  output [Y_WIDTH-1:0] Y;
  wire _TECHMAP_FAIL_ = A_WIDTH == Y_WIDTH || ((_TECHMAP_CELLTYPE_ == "$shift" || _TECHMAP_CELLTYPE_ == "$shiftx") && B_SIGNED);
  wire [W-1:0] a, y;
  \extend #(.A_SIGNED(A_SIGNED), .A_WIDTH(A_WIDTH), .Y_WIDTH(W)) ea (.A(A), .Y(a));
  generate
    if (_TECHMAP_CELLTYPE_ == "$shl" || _TECHMAP_CELLTYPE_ == "$sshl") assign y = a << B;
    if (_TECHMAP_CELLTYPE_ == "$shr" || (_TECHMAP_CELLTYPE_ == "$sshr" && !A_SIGNED) || _TECHMAP_CELLTYPE_ == "$shift" || _TECHMAP_CELLTYPE_ == "$shiftx") assign y = a >> B;
    if (_TECHMAP_CELLTYPE_ == "$sshr" && A_SIGNED) assign y = $signed(a) >>> B;
  endgenerate
  assign Y = y[Y_WIDTH-1:0];
endmodule

(* techmap_celltype = "$logic_not" *)
module explicit_logic_not (A, Y);
  parameter A_SIGNED = 0, A_WIDTH = 1, Y_WIDTH = 1;
  input [(A_WIDTH ? A_WIDTH : 1)-1:0] A;
  output [Y_WIDTH-1:0] Y;
  wire any = |A;
  assign Y = ~any;
endmodule
module \extend (A, Y);
  parameter A_SIGNED = 0, A_WIDTH = 1, Y_WIDTH = 1;
  input [(A_WIDTH ? A_WIDTH : 1)-1:0] A;
  output [Y_WIDTH-1:0] Y;
  generate
    if (A_WIDTH == 0) assign Y = 0;
    else if (A_WIDTH >= Y_WIDTH) assign Y = A[Y_WIDTH-1:0];
    else if (A_SIGNED) assign Y = {{Y_WIDTH-A_WIDTH{A[A_WIDTH-1]}}, A};
    else assign Y = {{Y_WIDTH-A_WIDTH{1'b0}}, A};
  endgenerate
endmodule
