"""Draw from the posterior of a model, which is an argument here.

model              the Protocol that a model fulfils
log_density        the log density of a model over unconstrained vectors
laplace            the posterior mode and the curvature there
hmc                Hamiltonian Monte Carlo, an iteration at a time
chains             advance NUTS and HMC chains block by block
convergence        judge draws by R-hat, effective sample size and divergences
draws              options of a sampler, and draws with the verdict on them
sampling           sample several chains until they converge
checkpoints        keep what interrupted chains have done, so that a fit can go on
compilation_cache  keep compiled code between processes
arviz_compat       support ArviZ before and after version 1.0
"""
