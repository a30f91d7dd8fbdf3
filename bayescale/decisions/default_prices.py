"""The default price of an env step, in a file that the command line can import without loading NumPy."""

ENV_STEP_PRICE = 4e9  # flops per env step, as Rybkin et al. (ICML 2025) count on Gym
