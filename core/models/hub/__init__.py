"""Models from ModelScope and Hugging Face, downloaded as a job through the hubs' own clients."""
