"""Names of the archive's data sets that the paper uses."""

_NAMES = """
Adiac ArrowHead Beef BeetleFly BirdChicken Car CBF ChlorineConcentration CinCECGTorso Coffee
Computers CricketX CricketY CricketZ DiatomSizeReduction DistalPhalanxOutlineAgeGroup
DistalPhalanxOutlineCorrect DistalPhalanxTW Earthquakes ECG200 ECG5000 ECGFiveDays
ElectricDevices FaceAll FaceFour FacesUCR FiftyWords Fish FordA FordB GunPoint Ham HandOutlines
Haptics Herring InlineSkate InsectWingbeatSound ItalyPowerDemand LargeKitchenAppliances
Lightning2 Lightning7 Mallat Meat MedicalImages MiddlePhalanxOutlineAgeGroup
MiddlePhalanxOutlineCorrect MiddlePhalanxTW MoteStrain NonInvasiveFetalECGThorax1
NonInvasiveFetalECGThorax2 OliveOil OSULeaf PhalangesOutlinesCorrect Phoneme Plane
ProximalPhalanxOutlineAgeGroup ProximalPhalanxOutlineCorrect ProximalPhalanxTW
RefrigerationDevices ScreenType ShapeletSim ShapesAll SmallKitchenAppliances
SonyAIBORobotSurface1 SonyAIBORobotSurface2 StarLightCurves Strawberry SwedishLeaf Symbols
SyntheticControl ToeSegmentation1 ToeSegmentation2 Trace TwoLeadECG TwoPatterns
UWaveGestureLibraryAll UWaveGestureLibraryX UWaveGestureLibraryY UWaveGestureLibraryZ Wafer Wine
WordSynonyms Worms WormsTwoClass Yoga
"""

UCR_85 = tuple(_NAMES.split())
"""The 85 univariate data sets of the UCR archive of 2015, by their names of 2018."""
