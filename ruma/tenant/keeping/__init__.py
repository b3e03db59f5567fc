"""How long things are kept: plans, holds, and the removal of what is due."""
