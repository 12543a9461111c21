from divreg.losses import confidence_penalty, confidence_penalty_hinge

CE = 1.440190


def test_entropy_is_worth_a_tenth_of_itself(oracle, exactly):
    value, gradient = oracle(confidence_penalty, strength=0.1)
    assert value == exactly(1.345436)
    assert gradient == exactly([0.676583, -0.774787, 0.074137, 0.024068])


def test_only_what_is_missing_to_the_threshold_costs(oracle, exactly):
    assert oracle(confidence_penalty_hinge, strength=0.1, least=1.2)[0] == exactly(1.465436)
    value, gradient = oracle(confidence_penalty_hinge, strength=0.1, least=0.9)
    assert value == exactly(CE)
    assert gradient == exactly([0.643914, -0.763117, 0.087144, 0.032059])


def test_below_the_threshold_the_gradient_is_that_of_the_penalty(oracle, exactly):
    _, hinged = oracle(confidence_penalty_hinge, strength=0.1, least=1.2)
    assert hinged == exactly(oracle(confidence_penalty, strength=0.1)[1])
