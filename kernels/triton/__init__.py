"""The operations as Triton kernels, one a file, each beside a torch twin in `espalier.kernels`.

Only the twins' modules import these, and only once `dispatch.use_triton` says yes: without CUDA no triton is needed.
"""
