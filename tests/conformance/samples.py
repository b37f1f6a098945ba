"""One sample of each class, as the producer serves them."""

FUNCTION = "SubNetwork=1,MLTrainingFunction=mlt"
REQUEST = {
    "aIMLInferenceName": "SLS_ANALYSIS_E2E_LATENCY_ANALYSIS",
    "candidateTrainingDataSource": ["ue-delay/train"],
    "trainingDataQualityScore": 87.5,
    "trainingRequestSource": "SubNetwork=1,ManagedElement=analytics",
    "requestStatus": "NOT_STARTED",
    "performanceRequirements": [
        {"inferenceOutputName": "delay_ms", "performanceMetric": "MAE", "performanceScore": 3.6}],
    "cancelRequest": False,
    "suspendRequest": False,
    "trainingDataStatisticalProperties": {"uniformlyDistributedTrainingData": True},
    "distributedTrainingExpectation": {
        "expectedTrainingTime": 20, "dataSplitIndication": True,
        "suggestedTrainingNodeList": ["SubNetwork=1,ManagedElement=gnb-1"]},
    "mLTrainingType": "INITIAL_TRAINING",
    "expectedInferenceScope": ["muster:ue-delay"],
    "fLRequirement": {"fLClientSelectionCriteria": [{
        "minimumAvailableDataSamples": 1000, "minimumAvailableTimeDuration": 30, "clientRedundancy": True,
        "servingGeoArea": [{"geoCircle": {"referenceLocation": {"latitude": 48.1, "longitude": 11.6},
                                          "distanceRadius": 500}}]}]},
    "rLRequirement": {
        "rLEnvironmentType": ["SIMULATION_ENVIRONMENTS"],
        "rLEnvironmentScope": [{"timeWindow": {"startTime": "2026-11-22T10:00:00Z"}}],
        "rLPerformanceRequirements": [
            {"performanceMetrics": ["m"], "thresholdDirection": "UP", "thresholdValue": 3, "hysteresis": 0.5}]},
    "clusteringInfo": [{"taskType": "t", "allowedClusterTrainingTime": {"endTime": "2026-11-22T10:00:00Z"}}],
    "mLModelRef": "SubNetwork=1,MLModelRepository=1,MLModel=m",
}
SAMPLES = {
    "SubNetwork=1": {"userLabel": "demo"},
    "SubNetwork=1,ManagedElement=gnb-1": {"userLabel": "a site", "vendorName": "v", "managedBy": ["SubNetwork=1"]},
    FUNCTION: {
        "supportedLearningTechnology": {
            "learningTechnologyName": ["DL"], "supportedInferenceNameList": ["SLS_ANALYSIS_E2E_LATENCY_ANALYSIS", "x"]},
        "mLTrainingType": "INITIAL_TRAINING",
        "mLModelRepositoryRef": "SubNetwork=1,MLModelRepository=1"},
    f"{FUNCTION},MLTrainingRequest=r1": REQUEST,
    f"{FUNCTION},MLTrainingProcess=r1": {
        "priority": 10, "terminationConditions": "none",
        "progressStatus": {"status": "RUNNING", "progressPercentage": 40,
                           "progressStateInfo": "TRAINING SubNetwork=1,MLModelRepository=1,MLModel=m"},
        "cancelProcess": False, "suspendProcess": False,
        "trainingRequestRef": [f"{FUNCTION},MLTrainingRequest=r1"],
        "trainingReportRef": f"{FUNCTION},MLTrainingReport=r1",
        "mLModelRef": "SubNetwork=1,MLModelRepository=1,MLModel=m"},
    f"{FUNCTION},MLTrainingProcess=r1,VsDataContainer=decision": {
        "vsDataType": "MusterDecision", "vsDataFormatVersion": "1", "vsData": {"chosen": "data, by speed"}},
    f"{FUNCTION},MLTrainingReport=r1": {
        "usedConsumerTrainingData": ["ue-delay/train"], "modelConfidenceIndication": 90,
        "modelPerformanceTraining": [
            {"inferenceOutputName": "delay_ms", "performanceMetric": "MAE", "performanceScore": 3.4}],
        "modelPerformanceValidation": [
            {"inferenceOutputName": "delay_ms", "performanceMetric": "R2", "performanceScore": 40}],
        "dataRatioTrainingAndValidation": 9, "areNewTrainingDataUsed": True,
        "fLReportPerClient": [{"clientRef": FUNCTION, "numberOfDataSamplesUsed": 10, "modelPerformanceOnClient": []}],
        "trainingProcessRef": f"{FUNCTION},MLTrainingProcess=r1",
        "mLModelGeneratedRef": "SubNetwork=1,MLModelRepository=1,MLModel=m"},
    "SubNetwork=1,MLModelRepository=1": {},
    "SubNetwork=1,MLModelRepository=1,MLModel=m": {
        "mLModelId": "m", "aIMLInferenceName": "SLS_ANALYSIS_E2E_LATENCY_ANALYSIS", "mLModelVersion": "1",
        "expectedRunTimeContext": {"inferenceEntityRef": ["SubNetwork=1,ManagedElement=gnb-1"]},
        "supportedPerformanceIndicators": [{"performanceIndicatorName": "MAE", "isSupportedForTraining": True}],
        "mLCapabilitiesInfoList": [{"aIMLInferenceName": "x", "capabilityName": "c",
                                    "mLCapabilityParameters": {"inputs": 3}}],
        "mLTrainingType": "INITIAL_TRAINING", "inferenceScope": ["x"]},
    "SubNetwork=1,NtfSubscriptionControl=s": {
        "notificationRecipientAddress": "https://nms.example:8443/notify",
        "notificationTypes": ["notifyMOICreation", "notifyMOIDeletion"],
        "scope": {"scopeType": "BASE_SUBTREE", "scopeLevel": 2}, "notificationFilter": "/MLTrainingRequest"},
}


def class_of(dn):
    return dn.rsplit(",", 1)[-1].split("=", 1)[0]
