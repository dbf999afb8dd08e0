"""What every view stands on: traits and worker, sweeps, edits in force, assets, texts and tables."""
