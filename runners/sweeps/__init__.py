"""Sweeps: train all runs of a plan, on this machine or a Ray cluster; resumable after a kill at any point.

plan          read and check a sweep plan
checks        check that packages, tasks and devices are here before a sweep starts
doubts        find what a plan cannot answer before a sweep starts
estimates     estimate runs, env steps, flops and time before a sweep starts
sweep         run a sweep
folder        read and write the files of a sweep
lock          allow one sweep at a time in a folder
jobs          the job, its results, and the Protocol of engines; train one job
local_engine  train jobs in processes on this machine
ray_engine    train jobs on a Ray cluster
progress      tell how far a sweep is, and how long the rest will take
"""
