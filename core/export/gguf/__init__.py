"""The merged model as a GGUF file for llama.cpp, Ollama and LM Studio, on a laptop and without Python."""

# The merged model in half precision; in half of that size; in a third of it or less.
KINDS = ("f16", "q8_0", "q4_k_m")
