"""Text to ids and back: characters, bytes, byte pairs, Korean letters."""
