"""Pairs of factors and single Kronecker-sparse factors on torch tensors, through the device code of Sources/Kernels: what the Swift
launcher does, and the operators' definitions to hold it against."""

from .groups import Groups, Turn, groups_plans
from .groups_plan import GroupsPlan
from .kronecker import (Kronecker, KroneckerPlan, kronecker_aligned, kronecker_choice, kronecker_plans, kronecker_reference)
from .pair_groups_plan import PairGroupsPlan, pair_groups_candidates, pair_groups_plan
from .pair_plan import PairPlan, PairShape, pair_candidates, pair_plan
from .pairs import BlockGradient, Pair, PairBackward, PairGroups, bulk_possible, pair_kernels
from .sizes import SMS, ceil_div
