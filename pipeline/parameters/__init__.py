"""params.yaml: a file per section, so that a stage depends on the settings that it reads and on no others."""
