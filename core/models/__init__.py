"""The models of a workspace: which are there, whether they are whole, how large, whose code may run, which prompt
template fits.
"""
