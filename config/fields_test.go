package config

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// exercised says of each field of Config which test shows what it does. A field without one fails the test below.
var exercised = map[string]string{
	"File":                                      "TestLoad_ReadsTheFileAndAppliesTheFlags",
	"Listen.DNS.Listener.Address":               "TestListeners_AreReadAsTextMapAndList",
	"Listen.DNS.Listener.AllowInsecure":         "TestListener_BeyondLoopbackNeedsTheWordAndIsWarnedOf",
	"Listen.DNS.Scheme":                         "TestListenDNS_OverTLSShowsTheCertificateOfItsFiles",
	"Listen.DNS.ServerTLS.CertFile":             "TestListenDNS_OverTLSShowsTheCertificateOfItsFiles",
	"Listen.DNS.ServerTLS.KeyFile":              "TestListenDNS_OverTLSShowsTheCertificateOfItsFiles",
	"Listen.DNS.ServerTLS.Certificate":          "TestListenDNS_OverTLSShowsTheCertificateOfItsFiles",
	"Listen.DNS.ServerTLS.ClientCAFile":         "TestListenDNS_WhereClientsShowCertificatesItMayBeReachedFromAnywhere",
	"Listen.DNS.ServerTLS.ClientCAs":            "TestListenDNS_WhereClientsShowCertificatesItMayBeReachedFromAnywhere",
	"DNS.IDServer":                              "TestDNS_TellsOfItselfWhatIsWrittenAndNoMore",
	"DNS.VersionBind":                           "TestDNS_TellsOfItselfWhatIsWrittenAndNoMore",
	"Listen.Admin.Listener.Address":             "TestListeners_AreReadAsTextMapAndList",
	"Listen.Admin.Listener.AllowInsecure":       "TestListener_BeyondLoopbackNeedsTheWordAndIsWarnedOf",
	"Listen.Admin.ServerTLS.CertFile":           "TestListenAdmin_IsReadWithItsCertificateAndItsUsers",
	"Listen.Admin.ServerTLS.KeyFile":            "TestListenAdmin_IsReadWithItsCertificateAndItsUsers",
	"Listen.Admin.ServerTLS.Certificate":        "TestListenAdmin_IsReadWithItsCertificateAndItsUsers",
	"Listen.Admin.ServerTLS.ClientCAFile":       "TestListenAdmin_IsReadWithItsCertificateAndItsUsers",
	"Listen.Admin.ServerTLS.ClientCAs":          "TestListenAdmin_IsReadWithItsCertificateAndItsUsers",
	"Listen.Admin.Access.UsersFile":             "TestListenAdmin_IsReadWithItsCertificateAndItsUsers",
	"Listen.Admin.Access.Users":                 "TestListenAdmin_IsReadWithItsCertificateAndItsUsers",
	"Listen.Admin.Access.TokenKeyFile":          "TestListenAdmin_IsReadWithItsCertificateAndItsUsers",
	"Listen.Admin.Access.tokenKey":              "TestListenAdmin_IsReadWithItsCertificateAndItsUsers",
	"Listen.DNS.ServerTLS.Names":                "TestACME_IsReadWithTheNamesOfItsListeners",
	"Listen.Proxy.ServerTLS.Names":              "TestACME_IsReadWithTheNamesOfItsListeners",
	"Listen.Admin.ServerTLS.Names":              "TestACME_IsReadWithTheNamesOfItsListeners",
	"Listen.Gateway.ServerTLS.Names":            "TestACME_IsReadWithTheNamesOfItsListeners",
	"ACME.Directory":                            "TestACME_IsReadWithTheNamesOfItsListeners",
	"ACME.CAFile":                               "TestACME_IsReadWithTheNamesOfItsListeners",
	"ACME.CAs":                                  "TestACME_IsReadWithTheNamesOfItsListeners",
	"ACME.Channel":                              "TestACME_IsReadWithTheNamesOfItsListeners",
	"ACME.Email":                                "TestACME_IsReadWithTheNamesOfItsListeners",
	"ACME.HTTP":                                 "TestACME_IsReadWithTheNamesOfItsListeners",
	"ACME.KeyID":                                "TestACME_IsReadWithTheNamesOfItsListeners",
	"ACME.MAC":                                  "TestACME_IsReadWithTheNamesOfItsListeners",
	"ACME.AcceptTerms":                          "TestACME_IsReadWithTheNamesOfItsListeners",
	"Channels.Name":                             "TestTexts_StayAsTheyAreWritten",
	"Channels.Over":                             "TestChannel_WithoutTheKeyStandsOverDirect",
	"Channels.Proxies":                          "TestChannel_IsReadWithItsHopsAndItsResolver",
	"Channels.proxySources":                     "TestProxy_OverTLSIsReadWithWhomItHasToProveToBe",
	"Channels.ResolveAtExit":                    "TestChannel_IsReadWithItsHopsAndItsResolver",
	"Channels.Resolver.Upstreams":               "TestChannel_IsReadWithItsHopsAndItsResolver",
	"Channels.Resolver.Timeout":                 "TestResolverTimeout_IsHowLongALookupMayTake",
	"Channels.Resolver.DNSSEC":                  "TestDNSSEC_IsReadWithItsAnchors",
	"Channels.Resolver.trust":                   "TestDNSSEC_IsReadWithItsAnchors",
	"Channels.Resolver.negative":                "TestDNSSEC_IsReadWithItsAnchors",
	"Channels.Resolver.Forward":                 "TestForward_TakesSpecialUseSuffixesOnly",
	"Channels.Resolver.CacheSize":               "TestChannel_IsReadWithItsHopsAndItsResolver",
	"Channels.Resolver.Stale":                   "TestCache_IsReadKeyByKey",
	"Channels.Resolver.Prefetch":                "TestCache_IsReadKeyByKey",
	"Channels.Resolver.forward":                 "TestForward_TakesSpecialUseSuffixesOnly",
	"Channels.Resolver.sources":                 "TestShow_CanBeLoadedAgainAndSaysTheSame",
	"Routes.To":                                 "TestRoutes_AreReadInOrder",
	"Routes.Channel":                            "TestRoutes_AreReadInOrder",
	"Routes.Refuse":                             "TestRoutes_AreReadInOrder",
	"Routes.Labels":                             "TestRoutes_AskForACountryAndASession",
	"Routes.Line":                               "TestRoutes_AreReadInOrder",
	"Policy.PlainHTTP":                          "TestPolicy_IsReadKeyByKey",
	"Policy.PlainDNS":                           "TestPlainDNS_CannotBeAllowed",
	"Policy.ForeignResolvers":                   "TestPolicy_IsReadKeyByKey",
	"Policy.PrivateTargets.Allow":               "TestPolicy_PrivateTargetsAllowIsWarnedOf",
	"Policy.PrivateTargets.Networks":            "TestPolicy_IsReadKeyByKey",
	"Policy.ClientResolved":                     "TestPolicy_IsReadKeyByKey",
	"Policy.Contained":                          "TestPolicy_IsReadKeyByKey",
	"Limits.Connections":                        "TestLimitsConnections_TurnsOneMoreAway_AndHoldsFromTheReloadOn",
	"Limits.Drain":                              "TestLimitsDrain_HoldsFromTheReloadOn",
	"State":                                     "TestState_IsADirectoryOrNone",
	"Log.Level":                                 "TestLimitsAndLog_AreRead",
	"Log.Format":                                "TestLimitsAndLog_AreRead",
	"Log.Names":                                 "TestLogNames_ShowsNamesFromTheReloadOn_AndOnlyThen",
	"Warnings":                                  "TestListener_BeyondLoopbackNeedsTheWordAndIsWarnedOf",
	"written":                                   "TestShow_MasksEverySecret",
	"overrides: DNS":                            "TestOverrides_ReplaceWhatTheyNameAndLeaveTheFileAlone",
	"overrides: Listen":                         "TestOverrides_ReplaceWhatTheyNameAndLeaveTheFileAlone",
	"overrides: Resolver":                       "TestOverrides_ReplaceWhatTheyNameAndLeaveTheFileAlone",
	"overrides: CA":                             "TestCA_OfTheCommandLineIsForTheResolversOfTheCommandLine",
	"overrides: Via":                            "TestVia_IsTheChannelOfTheDocumentation",
	"overrides: LogLevel":                       "TestOverrides_ReplaceWhatTheyNameAndLeaveTheFileAlone",
	"overrides: LogFormat":                      "TestOverrides_ReplaceWhatTheyNameAndLeaveTheFileAlone",
	"Channels.Resolver.Strategy":                "TestStrategy_IsAWordOrARace",
	"Listen.Proxy.H3":                           "TestListenProxyH3_CarriesTunnelsBesideTheOthers",
	"Listen.Proxy.Listener.Address":             "TestListeners_AreReadAsTextMapAndList",
	"Listen.Proxy.Listener.AllowInsecure":       "TestListener_BeyondLoopbackNeedsTheWordAndIsWarnedOf",
	"Listen.Proxy.ServerTLS.CertFile":           "TestListenProxy_IsReadWithItsCertificateAndItsUsers",
	"Listen.Proxy.ServerTLS.KeyFile":            "TestListenProxy_IsReadWithItsCertificateAndItsUsers",
	"Listen.Proxy.ServerTLS.Certificate":        "TestListenProxy_IsReadWithItsCertificateAndItsUsers",
	"Listen.Proxy.ServerTLS.ClientCAFile":       "TestListenProxy_IsReadWithItsCertificateAndItsUsers",
	"Listen.Proxy.ServerTLS.ClientCAs":          "TestListenProxy_IsReadWithItsCertificateAndItsUsers",
	"Listen.Proxy.Access.UsersFile":             "TestListenProxy_IsReadWithItsCertificateAndItsUsers",
	"Listen.Proxy.Balancers":                    "TestListenProxy_IsReadWithItsCertificateAndItsUsers",
	"Limits.PerUser":                            "TestLimitsPerUser_HoldForEachUser_FromTheReloadOn",
	"Routes.Users":                              "TestRoutesUser_SendEachUserHisOwnWay",
	"Listen.Proxy.Access.Users":                 "TestListenProxy_IsReadWithItsCertificateAndItsUsers",
	"Listen.Proxy.Access.TokenKeyFile":          "TestListenProxy_IsReadWithItsCertificateAndItsUsers",
	"Listen.Proxy.Access.tokenKey":              "TestListenProxy_IsReadWithItsCertificateAndItsUsers",
	"Channels.WireGuard":                        "TestWireGuard_IsReadWithItsPeers",
	"Channels.Resolver.tunnel":                  "TestPlainDNS_IsForTheResolverOfATunnelThatAsksForItAndForNobodyElse",
	"Listen.Gateway.Listener.Address":           "TestGateway_IsReadWithItsEntriesAndItsListeners",
	"Listen.Gateway.Listener.AllowInsecure":     "TestGateway_IsReadWithItsEntriesAndItsListeners",
	"Listen.Gateway.ServerTLS.CertFile":         "TestGateway_IsReadWithItsCertificateAndItsUsers",
	"Listen.Gateway.ServerTLS.KeyFile":          "TestGateway_IsReadWithItsCertificateAndItsUsers",
	"Listen.Gateway.ServerTLS.Certificate":      "TestGateway_LetsItsUsersInOverTLS_fromWhereverTheyAre",
	"Listen.Gateway.ServerTLS.ClientCAFile":     "TestGateway_IsReadWithItsCertificateAndItsUsers",
	"Listen.Gateway.ServerTLS.ClientCAs":        "TestGateway_LetsItsUsersInOverTLS_fromWhereverTheyAre",
	"Listen.Gateway.Access.UsersFile":           "TestGateway_IsReadWithItsCertificateAndItsUsers",
	"Listen.Gateway.Access.Users":               "TestGateway_LetsItsUsersInOverTLS_fromWhereverTheyAre",
	"Listen.Gateway.Access.TokenKeyFile":        "TestGateway_IsReadWithItsCertificateAndItsUsers",
	"Listen.Gateway.Access.tokenKey":            "TestGateway_LetsItsUsersInOverTLS_fromWhereverTheyAre",
	"Listen.Gateway.Hosts":                      "TestGateway_ServesTheNamesAndPagesOfTheConfigurationInForce",
	"Listen.Gateway.Origins":                    "TestGateway_ServesTheNamesAndPagesOfTheConfigurationInForce",
	"Gateway.Path":                              "TestGateway_LeadsToTheOriginInTheChannelOfItsEntry",
	"Gateway.To":                                "TestGateway_LeadsToTheOriginInTheChannelOfItsEntry",
	"Gateway.ToPath":                            "TestGateway_LeadsToTheOriginInTheChannelOfItsEntry",
	"Gateway.Hosts":                             "TestGateway_LeadsToTheOriginInTheChannelOfItsEntry",
	"Gateway.Channel":                           "TestGateway_LeadsToTheOriginInTheChannelOfItsEntry",
	"Gateway.User":                              "TestGateway_IsReadWithItsEntriesAndItsListeners",
	"Gateway.Headers.Name":                      "TestGateway_LeadsToTheOriginInTheChannelOfItsEntry",
	"Gateway.Headers.Value":                     "TestGateway_LeadsToTheOriginInTheChannelOfItsEntry",
	"Gateway.NoHTTP3":                           "TestGateway_SpeaksHTTP3ToAnOriginThatOffersIt_unlessItIsOff",
	"Gateway.CAFile":                            "TestGateway_IsReadWithItsEntriesAndItsListeners",
	"Gateway.CAs":                               "TestGateway_LeadsToTheOriginInTheChannelOfItsEntry",
	"Channels.Pool":                             "TestPool_IsReadWithItsDefaults",
	"Listen.Transparent.Listener.Address":       "TestListenTransparent_IsAnAddressOrAMap",
	"Listen.Transparent.Listener.AllowInsecure": "TestListenTransparent_IsAnAddressOrAMap",
	"Listen.Transparent.Mode":                   "TestListenTransparent_IsAnAddressOrAMap",
	"Listen.Transparent.UDP":                    "TestListenTransparent_IsAnAddressOrAMap",
	"Listen.Transparent.Mark":                   "TestListenTransparent_IsAnAddressOrAMap",
	"LeakTest.Every":                            "TestLeakTest_IsReadWithItsCanaryAndItsWebhook",
	"LeakTest.OnChange":                         "TestLeakTest_IsReadWithItsCanaryAndItsWebhook",
	"LeakTest.OnLeak":                           "TestLeakTest_IsReadWithItsCanaryAndItsWebhook",
	"LeakTest.Limit":                            "TestLeakTest_IsReadWithItsCanaryAndItsWebhook",
	"LeakTest.Canary.Zone":                      "TestLeakTest_IsReadWithItsCanaryAndItsWebhook",
	"LeakTest.Canary.API":                       "TestLeakTest_IsReadWithItsCanaryAndItsWebhook",
	"LeakTest.Canary.Channel":                   "TestLeakTest_IsReadWithItsCanaryAndItsWebhook",
	"LeakTest.Canary.CAFile":                    "TestLeakTest_IsReadWithItsCanaryAndItsWebhook",
	"LeakTest.Canary.CAs":                       "TestLeakTest_IsReadWithItsCanaryAndItsWebhook",
	"LeakTest.History":                          "TestLeakTest_IsReadWithItsCanaryAndItsWebhook",
	"LeakTest.Keep":                             "TestLeakTest_IsReadWithItsCanaryAndItsWebhook",
	"LeakTest.Webhook.URL":                      "TestLeakTest_IsReadWithItsCanaryAndItsWebhook",
	"LeakTest.Webhook.Channel":                  "TestLeakTest_IsReadWithItsCanaryAndItsWebhook",
	"LeakTest.Webhook.On":                       "TestLeakTest_IsReadWithItsCanaryAndItsWebhook",
	"LeakTest.Webhook.Headers.Name":             "TestLeakTest_IsReadWithItsCanaryAndItsWebhook",
	"LeakTest.Webhook.Headers.Value":            "TestLeakTest_IsReadWithItsCanaryAndItsWebhook",
	"LeakTest.Webhook.CAFile":                   "TestLeakTest_IsReadWithItsCanaryAndItsWebhook",
	"Guard":                                     "TestGuard_IsReadWithItsNetworks",
	"LeakTest.Webhook.CAs":                      "TestLeakTest_IsReadWithItsCanaryAndItsWebhook",
}

// leaves gives the paths of the fields of our own structs, down to what another package or the language defines.
func leaves(t reflect.Type, path string) []string {
	for t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	own := t.Kind() == reflect.Struct && t.PkgPath() == reflect.TypeFor[Config]().PkgPath() && t != reflect.TypeFor[Problem]() && t != reflect.TypeFor[source]() && t != reflect.TypeFor[proxySource]()
	if !own {
		return []string{path}
	}
	var all []string
	for i := range t.NumField() {
		f := t.Field(i)
		all = append(all, leaves(f.Type, join(path, f.Name))...)
	}
	return all
}

func TestConfig_EveryFieldHasATestThatExercisesIt(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	running, err := filepath.Glob("../daemon/*_test.go") // what a key changes in a running program is shown there
	if err != nil || len(running) == 0 {
		t.Fatalf("the daemon's tests are not found: %v", err)
	}
	files = append(files, running...)
	tests := map[string]bool{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(f.Name.Name, "Test") {
				tests[f.Name.Name] = true
			}
		}
	}
	paths := leaves(reflect.TypeFor[Config](), "")
	for _, path := range leaves(reflect.TypeFor[Overrides](), "") {
		paths = append(paths, "overrides: "+path)
	}
	left := maps.Clone(exercised)
	for _, path := range paths {
		if name, ok := exercised[path]; !ok || !tests[name] {
			t.Errorf("the field %s has no test that exercises it (%q)", path, name)
		}
		delete(left, path)
	}
	for path := range left {
		t.Errorf("there is no field %s", path)
	}
}
