"""What all hosts of a run must have in common before its first step.

Two hosts with different weights, labels or code would train on, each on its own, and
end with a loss that means nothing.
"""

from typing import Any

import jax

from crossearth_jax.build import Network
from crossearth_jax.models.parameters import digest_of_arrays, dotted
from crossearth_jax.system import hosts


def check(configuration: str, origin: dict[str, Any], network: Network) -> None:
    """Compares this host with the others; all must call it.

    Args:
      configuration: all keys.
      origin: `provenance.collect`'s.
      network: with its weights as loaded and its initial values.

    Raises:
      ValueError: names what differs, and the host.
    """
    facts = {"configuration": configuration, **origin["must_agree"]}
    if jax.process_count() > 1:  # digests of all arrays take a moment
        initial = dotted(jax.device_get(network.trainable))
        facts["weights"] = network.digest
        facts["initial weights"] = digest_of_arrays(initial)
    hosts.check_agreement(facts)
