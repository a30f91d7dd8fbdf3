"""Networks of an ensemble, stacked so that one batched matrix product serves all members.

dense           dense layers of stacked networks: storage, memory layout, forward and backward
perceptrons     stacked perceptrons with gradients by hand
bronet          stacked BroNets with gradients by hand
adam            the Adam and AdamW optimisers for stacked parameters
matmul          batched matrix products, each by the fastest library for its size
flops           counts of the flops of matrix products
cuda_graphs     CUDA graphs that replay an update in one call
random_streams  one stream of random numbers per member
"""
