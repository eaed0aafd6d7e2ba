"""The merged model as a GGUF file for llama.cpp, Ollama and LM Studio, on a laptop and without Python."""
