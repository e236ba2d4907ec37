"""Note 4: any function -> its derivative, with an error bar."""
