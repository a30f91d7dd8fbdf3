"""Environments of all suites behind one interface.

environments         the interface that all environments satisfy
tasks                make the environments of a task, by the name of its suite
gym                  Gymnasium
dmc                  DeepMind Control
playground           MuJoCo Playground
single_environments  environments with Gymnasium's interface, stepped one by one
vector_environments  environments with Gymnasium's vector interface, stepped together
logged_environments  environments whose actions are logged, so that they can be replayed
"""
