"""Where a picture comes from: metadata, watermark, signed content credentials; writing and reading them."""
