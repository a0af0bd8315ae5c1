# Run by CPack over the files, before they become a package: what Debian wants of them beyond an
# installation. Manual pages and changelogs are compressed, the same bytes each time; what the static
# library has for debuggers is left out, as it is of the programs.
file(GLOB_RECURSE TEXTS
     ${CPACK_TEMPORARY_DIRECTORY}/usr/share/man/*.[1-9]
     ${CPACK_TEMPORARY_DIRECTORY}/usr/share/doc/*/changelog*)
list(FILTER TEXTS EXCLUDE REGEX "\\.gz$")
if(TEXTS)
  execute_process(COMMAND gzip -9n ${TEXTS} COMMAND_ERROR_IS_FATAL ANY)
endif()
file(GLOB_RECURSE ARCHIVES ${CPACK_TEMPORARY_DIRECTORY}/usr/lib/*.a)
foreach(ARCHIVE IN LISTS ARCHIVES)
  execute_process(COMMAND strip --strip-debug --remove-section=.comment --enable-deterministic-archives
                  ${ARCHIVE} COMMAND_ERROR_IS_FATAL ANY)
endforeach()
