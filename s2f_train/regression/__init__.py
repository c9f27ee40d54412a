"""What a regression says of faces, given voices: the teacher of the generators."""
