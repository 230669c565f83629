"""Fine-tuning methods: full fine-tuning, LoRA, and packed LoRA."""
