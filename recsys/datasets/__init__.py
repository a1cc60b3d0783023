"""Raw public files turned into RecBole's atomic files and a catalogue, one preparer per file."""
