"""What demure is measured against, behind the interface by which demure itself is judged."""
