"""The merged model as one GGUF file: for llama.cpp, Ollama and LM Studio, on a laptop and without Python."""
