"""The models of a workspace: which there are, whether they are complete, their size, permission for their code, their
prompt template.
"""
