# What `crossearth_jax.run.log` takes of TensorBoardX, whose protocol buffers are
# classes that are made at import.
