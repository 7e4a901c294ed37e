"""The engine as a web page: its RTL, compiled to WebAssembly, classifies and learns in a browser."""
