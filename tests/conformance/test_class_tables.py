"""Our class tables say what the standard's OpenAPI files say, attribute by attribute; the exceptions are listed."""
import pytest

AI_ML = "TS28105_AiMlNrm.yaml"
GENERIC = "TS28623_GenericNrm.yaml"
SUBSCRIPTION = "TS28623_SubscriptionControlNrm.yaml"

CLASSES = {
    "SubNetwork": (GENERIC, "SubNetwork-Attr"),
    "ManagedElement": (GENERIC, "ManagedElement-Attr"),
    "VsDataContainer": (GENERIC, "VsDataContainer-Single"),
    "MLTrainingFunction": (AI_ML, "MLTrainingFunction-Single"),
    "MLTrainingRequest": (AI_ML, "MLTrainingRequest-Single"),
    "MLTrainingProcess": (AI_ML, "MLTrainingProcess-Single"),
    "MLTrainingReport": (AI_ML, "MLTrainingReport-Single"),
    "MLModelRepository": (AI_ML, "MLModelRepository-Single"),
    "MLModel": (AI_ML, "MLModel-Single"),
    "NtfSubscriptionControl": (SUBSCRIPTION, "NtfSubscriptionControl-Single"),
}
# Schemas of TS28105 and TS28623 that say which classes stand below which.
CONTAINMENT = {
    "SubNetwork": [
        (GENERIC, "SubNetwork-ncO"), (AI_ML, "SubNetwork-ncO-AiMlNrm"),
        (SUBSCRIPTION, "SubNetwork-ncO-SubscriptionControlNrm")],
    "ManagedElement": [
        (AI_ML, "ManagedElement-ncO-AiMlNrm"), (SUBSCRIPTION, "ManagedElement-ncO-SubscriptionControlNrm")],
    "MLTrainingFunction": [(AI_ML, "MLTrainingFunction-Single")],
    "MLModelRepository": [(AI_ML, "MLModelRepository-Single")],
}
STAGE_2 = "read-only in stage 2 (isWritable = F), not marked in the file"
RANGE = "range of stage 2 (7.5.1), not in the file"
DEFAULT = "default of stage 2 (7.5.1), not in the file"

# What differs on purpose: (path, what) -> why. Each entry must really differ.
DEVIATIONS = {
    **{(path, "read_only"): STAGE_2 for path in (
        "SubNetwork.dnPrefix", "SubNetwork.userDefinedNetworkType", "SubNetwork.supportedTraceMetrics", "ManagedElement.dnPrefix", "ManagedElement.managedElementTypeList",
        "ManagedElement.locationName", "ManagedElement.managedBy",
        "MLTrainingFunction.vnfParametersList", "MLTrainingFunction.peeParametersList",
        "MLTrainingFunction.supportedTraceMetrics", "MLTrainingFunction.mLKnowledge", "MLTrainingProcess.progressStatus",
        "MLTrainingReport.modelPerformanceTraining", "MLTrainingReport.modelPerformanceValidation",
        "MLTrainingReport.dataRatioTrainingAndValidation", "MLTrainingReport.fLReportPerClient",
        "MLModel.aIMLInferenceName", "MLModel.mLCapabilitiesInfoList", "MLModel.inferenceScope")},
    ("MLModel.expectedRunTimeContext", "read_only"): "writable in stage 2; the file marks the type's members read-only",
    ("VsDataContainer.vsDataType", "read_only"): "given at creation, fixed afterwards: else no consumer could name it",
    ("VsDataContainer.vsDataFormatVersion", "read_only"): "as vsDataType",
    ("MLTrainingRequest.trainingDataQualityScore", "minimum"): RANGE,
    ("MLTrainingRequest.trainingDataQualityScore", "maximum"): RANGE,
    ("MLTrainingProcess.priority", "minimum"): RANGE,
    ("MLTrainingProcess.priority", "maximum"): RANGE,
    ("MLTrainingReport.modelConfidenceIndication", "minimum"): RANGE,
    ("MLTrainingReport.modelConfidenceIndication", "maximum"): RANGE,
    ("MLTrainingRequest.cancelRequest", "default"): DEFAULT,
    ("MLTrainingRequest.suspendRequest", "default"): DEFAULT,
    ("MLTrainingRequest.requestStatus", "default"): "the state in which every request begins (6.2b.2.4)",
    ("NtfSubscriptionControl.scope.scopeLevel", "minimum"): "there is no level above the base",
    ("NtfSubscriptionControl.notificationTypes", "values"):
        "notifyThresholdCrossing, notifyFileReady and notifyFilePreparationError are defined in files not looked at here",
}


def compare(path, ours, theirs):
    """Yields (path, what, ours, theirs) for each difference."""
    for what in ("type", "list", "unique", "items_min", "items_max", "minimum", "maximum", "default"):
        if ours[what] != theirs[what]:
            yield path, what, ours[what], theirs[what]
    if sorted(ours["values"]) != theirs["values"]:
        yield path, "values", sorted(ours["values"]), theirs["values"]
    yield from compare_members(path, ours["members"], theirs["members"], theirs["required"])


def compare_members(path, ours, theirs, required):
    names = [member["name"] for member in ours]
    if sorted(names) != sorted(theirs):
        yield path, "members", sorted(names), sorted(theirs)
    for member in ours:
        if member["name"] in theirs:
            yield from compare(f"{path}.{member['name']}", member, theirs[member["name"]])
            if member["name"] in required and member["lower"] < 1:
                yield f"{path}.{member['name']}", "required", False, True


def differences(specification, row):
    file, name = CLASSES[row["name"]]
    theirs = {attribute: specification.describe(*found)
              for attribute, found in specification.attributes(file, name).items()}
    yield from compare_members(row["name"], row["attributes"], theirs, [])
    for attribute in row["attributes"]:
        read_only = not attribute["writable"]
        if attribute["name"] in theirs and read_only != theirs[attribute["name"]]["read_only"]:
            yield f"{row['name']}.{attribute['name']}", "read_only", read_only, not read_only


def test_every_class_is_compared(tables):
    assert sorted(tables) == sorted(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_class_is_that_of_the_standard(specification, tables, name):
    unexpected = [found for found in differences(specification, tables[name]) if found[:2] not in DEVIATIONS]
    assert not unexpected, "\n".join(f"{path}: {what} is {ours!r}, the standard says {theirs!r}"
                                     for path, what, ours, theirs in unexpected)


def test_every_deviation_is_real(specification, tables):
    found = {each[:2] for row in tables.values() for each in differences(specification, row)}
    stale = sorted(set(DEVIATIONS) - found)
    assert not stale


@pytest.mark.parametrize("name", CLASSES)
def test_class_stands_where_the_standard_puts_it(specification, tables, name):
    for parent in set(tables[name]["parents"]) - {"", "*"}:
        children = {child for file, schema in CONTAINMENT[parent]
                    for child in specification.properties(file, specification.file(file)["components"]["schemas"][schema])}
        assert name in children, f"{name} below {parent}"
