// Nothing is called: what this target does happens before `main`.
