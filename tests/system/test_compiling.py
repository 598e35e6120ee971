import jax
import jax.numpy as jnp
import pytest

from crossearth_jax.system import compiling


@pytest.fixture(autouse=True)
def forget():
    compiling._cpu_option.cache_clear()
    yield
    compiling._cpu_option.cache_clear()


OPTIONS = (compiling.lean_schedule, compiling.light_optimisation)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="options of a CPU")
@pytest.mark.parametrize("wanted", OPTIONS)
def test_the_compiler_takes_the_options(wanted):
    options = wanted()
    assert options
    assert jax.jit(jnp.square, compiler_options=options)(3) == 9


@pytest.mark.parametrize("wanted", OPTIONS)
def test_no_options_where_the_compiler_knows_none(monkeypatch, wanted):
    def refuses(_, compiler_options):
        raise jax.errors.JaxRuntimeError(f"No such compile option: {compiler_options}")

    monkeypatch.setattr(jax, "jit", refuses)
    assert wanted() == {}


@pytest.mark.parametrize("wanted", OPTIONS)
def test_no_options_on_other_platforms(monkeypatch, wanted):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert wanted() == {}


def test_memory_goes_back_after_long_compilations_alone(monkeypatch):
    calls = []
    monkeypatch.setattr(compiling, "give_back_freed_memory", lambda: calls.append(1))
    event = "/jax/core/compile/backend_compile_duration"
    compiling._after_compiling(event, 0.1)
    compiling._after_compiling("/jax/core/compile/jaxpr_trace_duration", 9.0)
    assert not calls
    compiling._after_compiling(event, 9.0, fun_name="step")
    assert calls == [1]


def test_jax_reports_compilations_under_that_name():
    """What `set_up_compiler` listens to; another name would never be noticed."""
    heard = []

    def listen(event, *_, **__):
        heard.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        jax.jit(lambda x: x * 3.25 + 1)(2.0)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert any(event.endswith("backend_compile_duration") for event in heard)


def test_options_of_a_cpu_are_for_no_other_device():
    assert compiling.lean_schedule("gpu") == {}
    assert compiling.lean_schedule("cpu") == compiling.lean_schedule()


def test_a_device_that_is_not_there_is_traced_for():
    here = compiling.target_device()
    assert here == jax.local_devices()[0]
    with compiling.traced_for("another"):
        assert compiling.target_device() == "another"
    assert compiling.target_device() == here
