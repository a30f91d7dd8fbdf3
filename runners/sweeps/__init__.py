"""Sweeps: all runs of a plan, on this machine or a Ray cluster, resumable at any point.

plan          read and check a sweep plan
sweep         run a sweep
folder        the files of a sweep
lock          one process per sweep folder
jobs          train one ensemble and keep its results; every engine's workers do this
local_engine  worker processes on this machine
ray_engine    tasks on a Ray cluster
estimates     estimate runs, steps, flops and time before a sweep starts
progress      how far a sweep is, and how long the rest will take
"""
