"""The models of a workspace: a list, their completeness and size, permission for their code, their prompt template."""
