"""An invertible network that turns normal features into noise; what it cannot turn into noise is anomalous."""
