# The Debian package, by CPack: `cmake --workflow --preset package`, or `cpack` in a build.
#
# It is one package: daemon, command line, libtekup, manual. Its files are those of cmake --install
# with /usr as the prefix, and those of the component `debian` below, which only a package has.
set(TEKUP_PACKAGE_RELEASE 1 CACHE STRING "The Debian package's number for this version")

# A package is for the distribution it is built on, whose libraries it depends on. A later release
# of it sorts higher, so that an upgrade of the system brings a new one.
set(TEKUP_DEBIAN_RELEASE ${TEKUP_PACKAGE_RELEASE})
set(TEKUP_DEBIAN_CODENAME unstable)
if(EXISTS /etc/os-release)
  file(STRINGS /etc/os-release OS_RELEASE)
  foreach(LINE IN LISTS OS_RELEASE)
    if(LINE MATCHES "^(ID|VERSION_ID|VERSION_CODENAME)=\"?([^\"]*)\"?$")
      set(OS_${CMAKE_MATCH_1} ${CMAKE_MATCH_2})
    endif()
  endforeach()
  if(OS_VERSION_ID)
    string(APPEND TEKUP_DEBIAN_RELEASE "~${OS_ID}${OS_VERSION_ID}")
  endif()
  if(OS_VERSION_CODENAME)
    set(TEKUP_DEBIAN_CODENAME ${OS_VERSION_CODENAME})
  endif()
endif()
set(TEKUP_DEBIAN_VERSION ${PROJECT_VERSION}-${TEKUP_DEBIAN_RELEASE})

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME tekupdb)
set(CPACK_PACKAGE_VENDOR tekupdb)
set(CPACK_PACKAGE_CONTACT "tekupdb <tekupdb@packages.invalid>" CACHE STRING
    "Who answers for the Debian package: Name <address>")
set(CPACK_VERBATIM_VARIABLES ON)
# With DESTDIR, so that /etc is /etc, and the prefix is the one that the files are installed with.
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE
    GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_SOURCE_DIR}/tools/debian/finish.cmake)
# Everything but what runs on this kind of processor only: the peers of tekup-bench are compiled for
# the machine they are measured on.
set(CPACK_INSTALL_CMAKE_PROJECTS
    "${CMAKE_BINARY_DIR};tekupdb;Unspecified;/" "${CMAKE_BINARY_DIR};tekupdb;debian;/")
if(NOT TEKUP_BENCH_PEERS)
  list(APPEND CPACK_INSTALL_CMAKE_PROJECTS "${CMAKE_BINARY_DIR};tekupdb;bench;/")
endif()

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE ${TEKUP_DEBIAN_RELEASE})
set(CPACK_DEBIAN_PACKAGE_SECTION database)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "vector search engine and document store over PostgreSQL")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"It keeps a company's documents (directories, GitHub, Notion, Google Drive)
searchable by similarity and by words over a UNIX socket, with PostgreSQL as
the truth and an index in memory as its mirror. Services that speak
PostgreSQL's protocol share its connections.
.
This package contains the daemon tekupd, the command line tekup, and libtekup,
the index as a C library with its header.")
# Programs that are run are not seen by dpkg-shlibdeps. The daemon makes a cluster of its own with
# any PostgreSQL server, unless DATABASE_URL names one somewhere else.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS
    "systemd | systemd-standalone-sysusers | systemd-sysusers, systemd | systemd-standalone-tmpfiles | systemd-tmpfiles, init-system-helpers (>= 1.54~)")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "postgresql, ca-certificates")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "bash-completion, postgresql-client")
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
foreach(CONTROL_FILE preinst postinst prerm postrm triggers conffiles)
  list(APPEND CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_SOURCE_DIR}/tools/debian/${CONTROL_FILE})
endforeach()

# ---- Files that only the package has ----

string(TIMESTAMP TEKUP_DEBIAN_DATE "%a, %d %b %Y %H:%M:%S +0000" UTC)
configure_file(${CMAKE_SOURCE_DIR}/tools/debian/changelog.in
               ${CMAKE_BINARY_DIR}/debian/changelog.Debian @ONLY)
set(ONLY_DEBIAN COMPONENT debian EXCLUDE_FROM_ALL)
install(FILES ${CMAKE_BINARY_DIR}/debian/changelog.Debian tools/debian/copyright
        DESTINATION share/doc/tekupdb ${ONLY_DEBIAN})
install(FILES tools/debian/lintian-overrides DESTINATION share/lintian/overrides RENAME tekupdb
        ${ONLY_DEBIAN})
install(FILES tools/tekupd/tekupd.conf DESTINATION /etc/tekupdb ${ONLY_DEBIAN})
install(FILES tools/systemd/environment DESTINATION /etc/tekupdb
        PERMISSIONS OWNER_READ OWNER_WRITE ${ONLY_DEBIAN})

include(CPack)
