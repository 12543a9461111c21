from divreg.losses import sed


def test_an_unlikely_target_of_an_open_position_is_pushed_harder(oracle, exactly):
    value, gradient = oracle(sed, strength=1.0, k=2, tau=0.9)
    assert value == exactly(1.509420)
    assert gradient == exactly([0.724182, -0.858244, 0.098007, 0.036055])


def test_a_closed_position_keeps_its_cross_entropy(oracle, exactly):
    value, _ = oracle(sed, k=2, tau=0.88)  # the two likeliest hold 0.880797
    assert value == exactly(1.440190)


def test_a_likely_target_of_an_open_position_is_held_down(oracle):
    _, plain = oracle(sed, target=0, strength=0.0)
    _, held = oracle(sed, target=0, strength=1.0, k=2)
    assert plain[0] < held[0] < 0
