"""Knowledge of vLLM itself: its flags, its settings in logs, and its client's arrivals."""
