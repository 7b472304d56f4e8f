"""The operations of cconv, validated and stateless: the door between people and the compiled kernels."""
