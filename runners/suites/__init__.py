"""Environments of all suites behind one interface.

environments         the interface, and the suites by name
gym                  Gymnasium
dmc                  DeepMind Control
playground           MuJoCo Playground
single_environments  environments of Gymnasium's interface, stepped one by one
vector_environments  environments of Gymnasium's vector interface, stepped together
logged_environments  environments that can be restored by replaying their actions
"""
