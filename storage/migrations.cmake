# Writes OUTPUT, a C file that holds the migrations FILES (NNNN_name.sql, separated by '|') for
# migrations.h. Run as a script: cmake -DOUTPUT=... -DFILES=... -P migrations.cmake
include(${CMAKE_CURRENT_LIST_DIR}/base/bytes.cmake)
set(TEXTS "")
set(ROWS "")
set(EXPECTED 0)
string(REPLACE "|" ";" FILES "${FILES}")
foreach(FILE ${FILES})
  get_filename_component(NAME ${FILE} NAME_WE)
  if(NOT NAME MATCHES "^([0-9][0-9][0-9][0-9])_([a-z0-9_]+)$")
    message(FATAL_ERROR "${FILE}: a migration's file is named NNNN_name.sql")
  endif()
  set(NUMBER ${CMAKE_MATCH_1})
  set(TITLE ${CMAKE_MATCH_2})
  math(EXPR EXPECTED "${EXPECTED} + 1")
  math(EXPR VERSION "1${NUMBER} - 10000")
  if(NOT VERSION EQUAL EXPECTED)
    message(FATAL_ERROR "${FILE}: migration ${EXPECTED} is missing, or there are two of ${VERSION}")
  endif()
  bytes_of(${FILE} BYTES LENGTH TAG)
  string(APPEND TEXTS "static const char sql_${NUMBER}[] = {\n${BYTES}0x00};\n")
  string(APPEND ROWS "    {${VERSION}, \"${NUMBER}_${TITLE}\", sql_${NUMBER}, ${LENGTH}},\n")
endforeach()
file(WRITE ${OUTPUT} "/* Made from storage/migrations by storage/migrations.cmake. */
#include \"storage/migrations.h\"

${TEXTS}
const struct migration migrations[] = {
${ROWS}};
const size_t migration_count = sizeof(migrations) / sizeof(*migrations);
")
